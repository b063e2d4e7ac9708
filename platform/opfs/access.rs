//! An access handle of the browser, by web-sys.

use wasm_bindgen::JsValue;
use web_sys::{FileSystemReadWriteOptions, FileSystemSyncAccessHandle};

use super::errors::{self, Place};
use super::mark::Mark;
use super::transfer::Access;
use crate::Errno;

/// The browser's object, and the one options object that every call of it reuses.
pub(super) struct Browser {
    file: FileSystemSyncAccessHandle,
    options: FileSystemReadWriteOptions,
    /// Goes when the handle is closed.
    _mark: Option<Mark>,
}

impl Browser {
    pub(super) fn new(file: FileSystemSyncAccessHandle, mark: Option<Mark>) -> Self {
        Browser { file, options: FileSystemReadWriteOptions::new(), _mark: mark }
    }
}

fn open(value: &JsValue) -> Errno {
    errors::thrown(value, Place::Open)
}

impl Access for Browser {
    unsafe fn read(&self, at: f64, into: *mut u8, len: usize) -> Result<f64, Errno> {
        self.options.set_at_f64(at);
        // SAFETY: the caller's promise that the bytes may be written. They may not be initialised;
        // the slice is only taken apart again, as in js-sys's own `view_mut_raw`. The glue makes a
        // view of them for this call and keeps none: memory grows, and views die, only in between.
        let bytes = unsafe { core::slice::from_raw_parts_mut(into, len) };
        self.file
            .read_with_u8_array_and_options(bytes, &self.options)
            .map_err(|thrown| open(&thrown))
    }

    unsafe fn write(&self, at: f64, from: *const u8, len: usize) -> Result<f64, Errno> {
        self.options.set_at_f64(at);
        // SAFETY: the caller's promise that the bytes may be read, so they are initialised; the
        // view as in `read`.
        let bytes = unsafe { core::slice::from_raw_parts(from, len) };
        self.file
            .write_with_u8_array_and_options(bytes, &self.options)
            .map_err(|thrown| open(&thrown))
    }

    fn size(&self) -> Result<f64, Errno> {
        self.file.get_size().map_err(|thrown| open(&thrown))
    }

    fn truncate(&self, len: f64) -> Result<(), Errno> {
        self.file.truncate_with_f64(len).map_err(|thrown| open(&thrown))
    }

    fn flush(&self) -> Result<(), Errno> {
        self.file.flush().map_err(|thrown| open(&thrown))
    }

    fn close(self) -> Result<(), Errno> {
        // The specification lets it throw nothing.
        self.file.close();
        Ok(())
    }
}
