//! The limit on open files, which a thousand waiting payers reach quickly.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's soft limit on open files to its hard limit and returns what now holds; `None` is
/// unlimited. Child processes inherit it, so whoever starts them calls this first. Safe to repeat.
pub fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        // A stricter system keeps its limit; the run tells if it was too low.
        Err(_) => current,
    }
}
