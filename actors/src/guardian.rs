//! Restarts an actor that died, also of a panic.
//!
//! actix's own supervisor only restarts after an orderly stop: a panic closes the address for good. The
//! guardian holds a factory, looks at the address at short intervals, builds a fresh life and counts it.
//! State comes back from the store, so a new life starts like the first one.

use std::time::Duration;

use actix::{Actor, AsyncContext, Context};
use tracing::error;

use crate::handle::Handle;

/// How often a guardian looks. Short, because a dead router or poller costs certainty; the look is one load.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// Starts a life and returns its address.
type Factory<A> = Box<dyn Fn() -> actix::Addr<A>>;

/// Watches one actor.
pub(crate) struct Guardian<A: Actor> {
    /// Named in logs and in the restart counter.
    name: &'static str,
    handle: Handle<A>,
    make: Factory<A>,
    /// Called after each new life but the first, so that others can register with it again.
    reborn: Box<dyn Fn()>,
}

impl<A: Actor<Context = Context<A>>> Guardian<A> {
    /// Starts the first life at once and a guardian over it on the current arbiter.
    pub(crate) fn watch(
        name: &'static str,
        handle: Handle<A>,
        make: impl Fn() -> actix::Addr<A> + 'static,
        reborn: impl Fn() + 'static,
    ) {
        handle.set(make());
        Guardian { name, handle, make: Box::new(make), reborn: Box::new(reborn) }.start();
    }
}

impl<A: Actor<Context = Context<A>>> Actor for Guardian<A> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(PROBE_INTERVAL, |guardian, _| {
            if !guardian.handle.is_alive() {
                error!(actor = guardian.name, "the actor died; starting a new life");
                metrics::counter!(crate::metric_definitions::ACTOR_RESTARTS, "actor" => guardian.name)
                    .increment(1);
                guardian.handle.set((guardian.make)());
                (guardian.reborn)();
            }
        });
    }
}
