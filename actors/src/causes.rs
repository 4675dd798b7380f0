//! An error with what caused it, in one line for the log.

use std::{error::Error, fmt};

/// An error and its causes, outermost first, as `the order could not be stored: disk is full`.
#[must_use]
pub fn causes(error: &dyn Error) -> impl fmt::Display {
    std::fmt::from_fn(move |f| {
        write!(f, "{error}")?;
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    })
}
