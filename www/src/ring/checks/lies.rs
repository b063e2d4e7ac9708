//! Real access handles, made to misbehave as other browsers, disks and quotas make them.

use js_sys::{Function, Object, Reflect};
use littoral_platform::{Errno, Op, SyncKind};
use wasm_bindgen::{JsCast, JsValue};

use super::{CREATE, Outcome, driver, fine, same};

/// A method of every access handle, replaced as long as this lives.
struct Replaced {
    prototype: Object,
    method: &'static str,
    original: JsValue,
}

impl Replaced {
    /// `body` sees the arguments as `arguments`.
    fn new(method: &'static str, body: &str) -> Result<Self, JsValue> {
        let class = Reflect::get(&js_sys::global(), &"FileSystemSyncAccessHandle".into())?;
        let prototype: Object = Reflect::get(&class, &"prototype".into())?.unchecked_into();
        let original = Reflect::get(&prototype, &method.into())?;
        Reflect::set(&prototype, &method.into(), &Function::new_no_args(body))?;
        Ok(Replaced { prototype, method, original })
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        Reflect::set(&self.prototype, &self.method.into(), &self.original)
            .expect("what was set once can be set again");
    }
}

fn replace(method: &'static str, body: &str) -> Result<Replaced, String> {
    Replaced::new(method, body).map_err(|thrown| format!("{thrown:?}"))
}

pub(super) async fn counts() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    fine("write", d.write(file, 0, b"0123456789").await)?;
    let cases = [
        ("4294967288", Errno::NOSPC),
        ("-8", Errno::NOSPC),
        ("0", Errno::NOSPC),
        ("NaN", Errno::IO),
        ("undefined", Errno::IO),
        ("5", Errno::IO),
        ("1.5", Errno::IO),
        ("Infinity", Errno::IO),
    ];
    for (count, errno) in cases {
        let _lie = replace("write", &format!("return {count}"))?;
        same(&format!("write of {count}"), d.write(file, 0, b"abcd").await, Err(errno))?;
        let _lie = replace("read", &format!("return {count}"))?;
        let errno = if count == "0" { Errno::IO } else { errno };
        let mut back = [0; 4];
        same(&format!("read of {count}"), d.read(file, 0, &mut back).await, Err(errno))?;
    }
    {
        let _lie = replace("write", "return 3")?;
        same("a short count", d.write(file, 0, b"abcd").await, Ok(3))?;
        let _lie = replace("getSize", "return 4503599627370495.5")?;
        same("half a byte", d.plain(Op::Size { file }).await, Err(Errno::IO))?;
    }
    let mut back = [0; 10];
    same("the truth again", d.read(file, 0, &mut back).await, Ok(10))?;
    same("nothing was changed", &back, b"0123456789")
}

pub(super) async fn thrown_values() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    let cases = [
        ("new DOMException('', 'QuotaExceededError')", Errno::NOSPC),
        ("new DOMException('', 'InvalidStateError')", Errno::IO),
        ("new DOMException('', 'NotAllowedError')", Errno::ACCES),
        ("new TypeError('BigInt')", Errno::INVAL),
        ("{ name: 'NS_ERROR_FILE_NO_DEVICE_SPACE', result: 2152857616 }", Errno::NOSPC),
        ("{ get name() { throw 1 } }", Errno::IO),
        ("{ name: 5 }", Errno::IO),
        ("'QuotaExceededError'", Errno::IO),
        ("null", Errno::IO),
        ("undefined", Errno::IO),
        ("Symbol('x')", Errno::IO),
    ];
    for (value, errno) in cases {
        let body = format!("throw {value}");
        let _lie = replace("write", &body)?;
        same(&format!("write throws {value}"), d.write(file, 0, b"a").await, Err(errno))?;
        let _lie = replace("flush", &body)?;
        let flushed = d.plain(Op::Sync { file, kind: SyncKind::Data }).await;
        same(&format!("flush throws {value}"), flushed, Err(errno))?;
        let _lie = replace("truncate", &body)?;
        let cut = d.plain(Op::Truncate { file, len: 9 }).await;
        same(&format!("truncate throws {value}"), cut, Err(errno))?;
        let _lie = replace("getSize", &body)?;
        same(&format!("size throws {value}"), d.plain(Op::Size { file }).await, Err(errno))?;
    }
    Ok(())
}

pub(super) async fn a_silent_truncate() -> Outcome {
    let mut d = driver();
    let file = fine("open", d.open("a", CREATE).await)?;
    fine("write", d.write(file, 0, b"0123456789").await)?;
    let _lie = replace("truncate", "")?;
    same("grow", d.plain(Op::Truncate { file, len: 20 }).await, Err(Errno::NOSPC))?;
    same("cut", d.plain(Op::Truncate { file, len: 1 }).await, Err(Errno::IO))?;
    same("leave", d.plain(Op::Truncate { file, len: 10 }).await, Ok(0))
}
