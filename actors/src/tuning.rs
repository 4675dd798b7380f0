//! The thresholds in force: one place to read them, one road to change them.
//!
//! A change is validated, made durable with its author, and then takes effect. Every node looks at the
//! store twice a second, so a change made elsewhere (another node, the command line) arrives within one.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use domain::{order::Rules, tuning::Tuning};

/// Shared thresholds. Reading is a pointer load.
#[derive(Debug, Clone)]
pub struct TuningHandle(Arc<ArcSwap<Tuning>>);

impl TuningHandle {
    /// Starts with these.
    #[must_use]
    pub fn new(tuning: Tuning) -> TuningHandle {
        TuningHandle(Arc::new(ArcSwap::from_pointee(tuning)))
    }

    /// What is in force now.
    #[must_use]
    pub fn get(&self) -> Arc<Tuning> {
        self.0.load_full()
    }

    /// Puts validated thresholds in force.
    pub(crate) fn put(&self, tuning: Tuning) {
        self.0.store(Arc::new(tuning));
    }

    /// The numbers that the order's rules depend on.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let t = self.0.load();
        Rules {
            close_patience: Duration::from_millis(t.close_patience_ms),
            certify_grace: Duration::from_secs(t.certify_grace_s),
            attempts_max: u8::try_from(t.attempts_max).unwrap_or(domain::AttemptNo::MAX),
        }
    }
}
