//! An address that outlives its actor.
//!
//! A guardian swaps in the address of each new life; everybody else holds a handle. A send to a dead or a
//! full actor is reported, never swallowed: the row is still due, so the caller counts it and goes on.

use std::sync::Arc;

use actix::{Actor, Addr, Handler, Message, dev::ToEnvelope, prelude::SendError};
use arc_swap::ArcSwapOption;

/// Why a message was not delivered. Both are passing: the mailbox drains, the guardian restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undelivered {
    /// The mailbox is at its bound.
    #[error("the actor's mailbox is full")]
    Full,
    /// No actor lives behind the handle at the moment.
    #[error("the actor is being restarted")]
    Gone,
}

/// A shared, replaceable address.
#[derive(Debug)]
pub(crate) struct Handle<A: Actor> {
    addr: Arc<ArcSwapOption<Addr<A>>>,
}

impl<A: Actor> Clone for Handle<A> {
    fn clone(&self) -> Handle<A> {
        Handle { addr: self.addr.clone() }
    }
}

impl<A: Actor> Default for Handle<A> {
    fn default() -> Handle<A> {
        Handle { addr: Arc::new(ArcSwapOption::empty()) }
    }
}

impl<A: Actor> Handle<A> {
    /// Points the handle at a new life.
    pub(crate) fn set(&self, addr: Addr<A>) {
        self.addr.store(Some(Arc::new(addr)));
    }

    /// True while the actor behind it takes messages.
    #[must_use]
    pub(crate) fn is_alive(&self) -> bool {
        self.addr.load().as_ref().is_some_and(|a| a.connected())
    }

    /// Puts a message into the mailbox, or says why not. Never waits.
    ///
    /// The address is not cloned for it: actix gives every clone a free slot, which would unbound the mailbox.
    ///
    /// # Errors
    /// [`Undelivered`]; the message is dropped.
    pub(crate) fn tell<M>(&self, message: M) -> Result<(), Undelivered>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        match self.addr.load().as_ref() {
            None => Err(Undelivered::Gone),
            Some(addr) => addr.try_send(message).map_err(|error| match error {
                SendError::Full(_) => Undelivered::Full,
                SendError::Closed(_) => Undelivered::Gone,
            }),
        }
    }
}
