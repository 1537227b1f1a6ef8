//! The values as text, in the `OpenMetrics` format that Prometheus reads.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::cells::ServerMetrics;
use super::{Kind, LANE_METRICS, SERVER_METRICS};

/// The type of the text, for HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Before every name.
const PREFIX: &str = "corelane";

/// Renders the values of one server.
#[derive(Debug)]
pub struct Exposition {
    registry: Registry,
}

impl Exposition {
    /// For `metrics`.
    pub fn new(metrics: Arc<ServerMetrics>) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(Values(metrics)));
        Self { registry }
    }

    /// The text.
    ///
    /// # Errors
    /// Never in practice: a string takes everything.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

#[derive(Debug)]
struct Values(Arc<ServerMetrics>);

impl Collector for Values {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        encoder
            .encode_descriptor("build", "What runs.", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        for metric in SERVER_METRICS {
            let encoder =
                encoder.encode_descriptor(metric.name, metric.help, None, kind(metric.kind))?;
            put(encoder, metric.kind, (metric.read)(&self.0.server))?;
        }
        for (index, metric) in LANE_METRICS.iter().enumerate() {
            let mut encoder =
                encoder.encode_descriptor(metric.name, metric.help, None, kind(metric.kind))?;
            for (lane, cells) in self.0.lanes.iter().enumerate() {
                let labels = [("lane", lane.to_string())];
                put(
                    encoder.encode_family(&labels)?,
                    metric.kind,
                    cells.value(index),
                )?;
            }
        }
        Ok(())
    }
}

fn kind(kind: Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    }
}

fn put(mut encoder: MetricEncoder<'_>, kind: Kind, value: u64) -> Result<(), fmt::Error> {
    match kind {
        Kind::Counter => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
        Kind::Gauge => encoder.encode_gauge(&value),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{LaneCounters, LaneSample};
    use super::*;

    fn rendered() -> String {
        let metrics = Arc::new(ServerMetrics::new(2));
        let counters = LaneCounters::default();
        counters.produces_refused.set(7);
        metrics.publish(
            1,
            &LaneSample {
                logs: corelane_storage::LaneMetrics {
                    commits: 5,
                    unflushed_bytes: 9,
                    ..Default::default()
                },
                lane: counters,
                partitions: 3,
                connections: 2,
                forwarded_bytes: 0,
            },
        );
        assert_eq!(metrics.sum("unflushed_bytes"), 9);
        Exposition::new(metrics).render().unwrap()
    }

    #[test]
    fn values_are_told_by_lane() {
        let text = rendered();
        for line in [
            "# TYPE corelane_commits counter",
            "corelane_commits_total{lane=\"0\"} 0",
            "corelane_commits_total{lane=\"1\"} 5",
            "corelane_produces_refused_total{lane=\"1\"} 7",
            "# TYPE corelane_unflushed_bytes gauge",
            "corelane_unflushed_bytes{lane=\"1\"} 9",
            "corelane_disk_room 0",
            "corelane_disk_shortages_total 0",
            concat!(
                "corelane_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            "# EOF",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "no {line} in\n{text}"
            );
        }
    }

    /// Names are part of the product: the document lists exactly those that are told.
    #[test]
    fn the_document_lists_what_is_told() {
        let document = include_str!("../../../docs/METRICS.md");
        let listed: BTreeSet<&str> = document
            .lines()
            .filter_map(|line| line.strip_prefix("| `corelane_")?.split('`').next())
            .collect();
        let text = rendered();
        let told: BTreeSet<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.strip_prefix("corelane_")?.split(['{', ' ']).next())
            .collect();
        assert_eq!(listed, told);
    }
}
