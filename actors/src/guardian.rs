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

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use actix::{Handler, Message};

    use super::*;

    struct Fragile {
        lives: Arc<AtomicU32>,
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Panic;

    impl Actor for Fragile {
        type Context = Context<Self>;

        fn started(&mut self, _: &mut Self::Context) {
            self.lives.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Handler<Panic> for Fragile {
        type Result = ();

        fn handle(&mut self, _: Panic, _: &mut Self::Context) {
            panic!("a planted bug");
        }
    }

    #[actix::test]
    async fn an_actor_that_panics_gets_a_new_life_each_time_and_its_friends_are_told() {
        let (lives, told) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let handle: Handle<Fragile> = Handle::default();
        let (born, news) = (lives.clone(), told.clone());
        let make = move || Fragile { lives: born.clone() }.start();
        Guardian::watch("fragile", handle.clone(), make, move || {
            news.fetch_add(1, Ordering::SeqCst);
        });
        for life in 1..=3_u32 {
            let until = tokio::time::Instant::now() + Duration::from_secs(10);
            while lives.load(Ordering::SeqCst) < life || !handle.is_alive() {
                assert!(tokio::time::Instant::now() < until, "life {life} never began");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            handle.tell(Panic).unwrap();
        }
        assert!(told.load(Ordering::SeqCst) >= 2);
    }
}
