//! Finding the coordinator of a group, and calls whose contents depend on the version.

use kafka_wire::{FindCoordinatorRequest, RequestResponsePair};

use super::cluster::Cluster;
use super::error::{CallError, ClusterError};
use crate::group::requests::{find_coordinator, found_coordinator};

impl Cluster {
    /// Asks whichever broker answers who coordinates a group. Gives the broker's id, which [`Cluster::call_in`] and
    /// [`Cluster::open`] take.
    ///
    /// # Errors
    /// [`ClusterError::Broker`] with a code that passes while a cluster starts, among others.
    pub async fn coordinator(&mut self, group: &str) -> Result<i32, ClusterError> {
        let version = self.common_version::<FindCoordinatorRequest>().await?;
        let response = self.call_any(&find_coordinator(group, version)).await?;
        let found = found_coordinator(&response);
        let broker = found.map_err(|code| ClusterError::Broker {
            subject: format!("the coordinator of group {group}"),
            code,
            message: None,
        })?;
        if self.brokers().all(|known| known.id != broker) {
            self.refresh(&[]).await?;
        }
        Ok(broker)
    }

    /// Makes a call to one broker, with a request that is built for the highest version both sides have that is not above
    /// `version_max`.
    pub async fn call_in<R: RequestResponsePair>(
        &mut self,
        broker: i32,
        version_max: i16,
        build: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, ClusterError> {
        let timeout = self.config.call_timeout;
        let connection = self.connection(broker).await?;
        let version = connection
            .ranges()
            .common_up_to::<R>(version_max)
            .map_err(CallError::from)?;
        let request = build(version);
        Ok(connection.call_in(&request, version, timeout).await?)
    }
}
