//! A finding as a line for people and as JSON, and what to do about the kinds that were found.

use std::fmt;

use corelane_storage::inspect::{Finding, FindingKind, Severity};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// A finding to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct FindingView<'a>(pub(super) &'a Finding);

/// What a severity is called.
pub(super) const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Unchecked => "unchecked",
        Severity::Damage => "damage",
    }
}

/// A line for people, without its end.
impl fmt::Display for FindingView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let finding = self.0;
        let severity = match finding.kind.severity() {
            Severity::Damage => "DAMAGE",
            Severity::Unchecked => "UNCHECKED",
            Severity::Note => "note",
        };
        write!(
            f,
            "{severity} {} {}",
            finding.kind.name(),
            finding.path.display()
        )?;
        match (finding.position, finding.until) {
            (Some(position), Some(until)) => write!(f, ", bytes {position} to {until}")?,
            (Some(position), None) => write!(f, ", bytes {position} to the end")?,
            (None, _) => {}
        }
        if let Some(offsets) = &finding.offsets {
            write!(f, ", offsets {}..{}", offsets.start, offsets.end)?;
        }
        write!(f, ": {}", finding.detail)
    }
}

/// Offsets are half-open, positions too.
impl Serialize for FindingView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let finding = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "finding")?;
        map.serialize_entry("severity", severity_name(finding.kind.severity()))?;
        map.serialize_entry("kind", finding.kind.name())?;
        map.serialize_entry("path", &finding.path.display().to_string())?;
        map.serialize_entry("position", &finding.position)?;
        map.serialize_entry("until", &finding.until)?;
        map.serialize_entry(
            "start_offset",
            &finding.offsets.as_ref().map(|range| range.start.get()),
        )?;
        map.serialize_entry(
            "end_offset",
            &finding.offsets.as_ref().map(|range| range.end.get()),
        )?;
        map.serialize_entry("detail", &finding.detail)?;
        map.serialize_entry("remedy", finding.kind.remedy())?;
        map.end()
    }
}

/// How many findings of each kind there were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally([u64; FindingKind::ALL.len()]);

impl Tally {
    /// Counts one.
    pub(super) fn add(&mut self, kind: FindingKind) {
        self.0[Self::index(kind)] += 1;
    }

    /// Findings of a severity.
    pub(super) fn of(&self, severity: Severity) -> u64 {
        FindingKind::ALL
            .iter()
            .filter(|kind| kind.severity() == severity)
            .map(|kind| self.0[Self::index(*kind)])
            .sum()
    }

    /// The kinds that were found, and what to do about each.
    pub(super) fn remedies(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        FindingKind::ALL
            .iter()
            .filter(|kind| self.0[Self::index(**kind)] > 0)
            .map(|kind| (kind.name(), kind.remedy()))
    }

    fn index(kind: FindingKind) -> usize {
        FindingKind::ALL
            .iter()
            .position(|known| *known == kind)
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use corelane_format::ids::Offset;

    use super::*;

    #[test]
    fn findings_read_as_lines_and_as_json() {
        let mut finding = Finding {
            kind: FindingKind::DamagedRecords,
            path: "x.log".into(),
            position: Some(4096),
            until: Some(4224),
            offsets: Some(Offset::new(3)..Offset::new(5)),
            detail: "bad".to_owned(),
        };
        assert_eq!(
            FindingView(&finding).to_string(),
            "DAMAGE damaged-records x.log, bytes 4096 to 4224, offsets 3..5: bad"
        );
        let json = serde_json::to_value(FindingView(&finding)).unwrap();
        assert_eq!(
            (
                &json["severity"],
                &json["start_offset"],
                &json["end_offset"]
            ),
            (&"damage".into(), &3.into(), &5.into())
        );
        (finding.kind, finding.until, finding.offsets) = (FindingKind::TornTail, None, None);
        assert_eq!(
            FindingView(&finding).to_string(),
            "note torn-tail x.log, bytes 4096 to the end: bad"
        );
        let mut tally = Tally::default();
        tally.add(finding.kind);
        tally.add(FindingKind::Sidecar);
        tally.add(FindingKind::Sidecar);
        assert_eq!(
            (tally.of(Severity::Damage), tally.of(Severity::Note)),
            (2, 1)
        );
        assert_eq!(tally.remedies().count(), 2);
    }
}
