//! Panics of the house: its guardians survive them, so without this nobody would hear of one.
//!
//! Each simulation has its thread, and the hook keeps a panic for the thread it happened on. Other threads, and threads
//! that simulate nothing, are left to the hook that was there before, which speaks in either case.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    static HEARD: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// As long as it lives, panics on this thread are kept.
pub(crate) struct Ear(());

impl Ear {
    /// Listens on the calling thread; the hook is installed once for the process.
    pub(crate) fn open() -> Ear {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                // No borrow is held over a call, and a thread that is ending has no story to add to.
                let _thread_ends = HEARD.try_with(|heard| {
                    if let Some(heard) = heard.borrow_mut().as_mut() {
                        heard.push(in_a_line(info));
                    }
                });
                before(info);
            }));
        });
        HEARD.set(Some(Vec::new()));
        Ear(())
    }

    /// What was heard since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        HEARD.with_borrow_mut(|heard| heard.as_mut().map(std::mem::take).unwrap_or_default())
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        HEARD.set(None);
    }
}

fn in_a_line(info: &panic::PanicHookInfo<'_>) -> String {
    let said = info.payload_as_str().unwrap_or("a panic without words");
    match info.location() {
        Some(at) => format!("{said} ({}:{})", at.file(), at.line()),
        None => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_caught_panic_is_heard_by_its_own_thread_and_once() {
        let (ear, other) = (Ear::open(), || panic::catch_unwind(|| panic!("not ours")));
        std::thread::spawn(move || {
            assert!(other().is_err());
            let theirs = Ear::open();
            assert_eq!(theirs.take(), [""; 0]);
        })
        .join()
        .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ended = runtime.block_on(async { tokio::spawn(async { panic!("an actor's end") }).await });
        assert!(ended.is_err());
        let heard = ear.take();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(heard.iter().all(|said| said.starts_with("an actor's end (")), "{heard:?}");
        assert_eq!(ear.take(), [""; 0]);
    }
}
