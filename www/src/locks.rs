//! What a tab does as it is told by the harness, to see its locks from another tab: it keeps a
//! driver and files open between calls, and answers with exactly what came of each order.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use littoral::{Config, File, Io, LockKind, OpenOptions, Result, start};

use crate::opfs;

/// The folder of its files, below the origin's root.
const ROOT: &str = "locks";

#[derive(Default)]
struct Held {
    io: Option<Arc<dyn Io>>,
    files: HashMap<String, Arc<dyn File>>,
}

thread_local! {
    static HELD: RefCell<Held> = RefCell::default();
}

/// Obeys; an error's kind comes before its text.
pub(crate) async fn obey(order: &str) -> String {
    match try_to(order).await {
        Ok(done) => done,
        Err(error) => format!("{:?}: {error}", error.kind()),
    }
}

async fn try_to(order: &str) -> Result<String> {
    let words: Vec<&str> = order.split(' ').collect();
    let done = match words[..] {
        ["start", patience] => {
            let patience = Duration::from_millis(patience.parse().expect("milliseconds"));
            let io = start(Config::new().root(ROOT).lock_patience(patience))?;
            HELD.with_borrow_mut(|held| held.io = Some(io));
            "started"
        }
        // A name for the handle, then the file's, then how.
        ["open", handle, name, ref how @ ..] => {
            let mut options = OpenOptions::new().create(true);
            for word in how {
                options = if *word == "read-only" {
                    OpenOptions::read_only()
                } else {
                    options.lock(kind(word))
                };
            }
            let open = io().open(name, options);
            let file = open.await?;
            HELD.with_borrow_mut(|held| held.files.insert(handle.to_owned(), file));
            "opened"
        }
        ["lock", handle, how] => {
            file(handle).lock(kind(how)).await?;
            "locked"
        }
        ["unlock", handle] => {
            file(handle).unlock().await?;
            "unlocked"
        }
        ["close", handle] => {
            let file = HELD.with_borrow_mut(|held| held.files.remove(handle));
            file.expect("it was opened").close().await?;
            "closed"
        }
        // What the browser says of Web Locks: those that are held, of all tabs.
        ["marks"] => return Ok(opfs::web_locks().await.join(" ")),
        // Busy for ever, so that the browser has to end the worker against its will.
        ["hang"] => loop {
            std::hint::spin_loop();
        },
        ref other => panic!("no such order: {other:?}"),
    };
    Ok(done.to_owned())
}

fn io() -> Arc<dyn Io> {
    HELD.with_borrow(|held| Arc::clone(held.io.as_ref().expect("it was started")))
}

fn file(handle: &str) -> Arc<dyn File> {
    HELD.with_borrow(|held| Arc::clone(held.files.get(handle).expect("it was opened")))
}

fn kind(word: &str) -> LockKind {
    match word {
        "shared" => LockKind::Shared,
        "exclusive" => LockKind::Exclusive,
        other => panic!("no such lock: {other}"),
    }
}
