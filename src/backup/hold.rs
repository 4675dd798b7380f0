//! Who holds a store: one service, or one restore, and never both.
//!
//! The lock is the system's, on a file beside the store, so it ends with the process however that ends. Commands that
//! only read need none.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use anyhow::Context as _;

use super::with_end;

/// The right to write a store, until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold(#[expect(dead_code, reason = "held, never read")] File);

/// Takes the right to write a store.
///
/// # Errors
/// Another process has it, or the lock's file cannot be made.
pub(crate) fn hold(store: &Path) -> anyhow::Result<Hold> {
    let path = with_end(store, ".lock");
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Hold(file)),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "store.path: another process holds {} (it has locked {}); stop it first",
            store.display(),
            path.display()
        ),
        Err(TryLockError::Error(e)) => Err(e).with_context(|| format!("cannot lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_held_by_one_and_free_again_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rushpay.db");
        let held = hold(&path).unwrap();
        let refused = hold(&path).unwrap_err().to_string();
        assert!(refused.contains("another process holds"), "{refused}");
        drop(held);
        drop(hold(&path).unwrap());
    }
}
