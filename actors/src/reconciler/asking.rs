//! What the front door asks of the reconciler.

use store::{BillRun, Difference};
use tokio::sync::oneshot;

use super::{Confirm, ConfirmError, Confirmation, WantDay, WorkError};
use crate::service::Service;

/// Why a day was not asked for.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The channel, or the store.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// The reconciler is being restarted: the same again.
    #[error("the reconciler cannot be reached at the moment")]
    Busy,
}

impl Service {
    /// Asks for the bills of a day now, of one channel or of all; they are worked on in the background. Repeating is
    /// safe: a day that is reconciled stays as it is.
    ///
    /// # Errors
    /// [`ReconcileError`]; nothing was asked for, or only for some channels: the same again.
    pub async fn reconcile(
        &self,
        day: jiff::civil::Date,
        channel: Option<String>,
        by: &str,
    ) -> Result<Vec<BillRun>, ReconcileError> {
        let (reply, wanted) = oneshot::channel();
        let message = WantDay { day, channel, by: by.to_owned(), reply };
        if self.house().reconciler.tell(message).is_err() {
            self.house().undelivered("reconciler");
            return Err(ReconcileError::Busy);
        }
        Ok(wanted.await.map_err(|_| ReconcileError::Busy)??)
    }

    /// An operator confirms the fix of a difference; see [`ConfirmError`] for what stands in the way.
    ///
    /// # Errors
    /// [`ConfirmError`]; nothing changed.
    pub async fn difference_confirm(&self, id: i64, asked: Confirmation) -> Result<Difference, ConfirmError> {
        let (reply, confirmed) = oneshot::channel();
        if self.house().reconciler.tell(Confirm { id, asked, reply }).is_err() {
            self.house().undelivered("reconciler");
            return Err(ConfirmError::Busy);
        }
        confirmed.await.map_err(|_| ConfirmError::Busy)?
    }
}
