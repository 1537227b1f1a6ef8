//! What a dump says, one entry after the other, for people or as JSON.

use std::fmt;

use corelane_format::CommitBlockHeader;
use corelane_format::ids::FilePosition;
use corelane_format::kafka::BatchHeader;
use corelane_storage::segment_header::SegmentHeader;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::cli::record_view::{RecordView, printable};
use crate::cli::utc;

/// One thing found in a segment file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry<'a> {
    /// The file itself.
    Segment {
        path: &'a str,
        header: &'a SegmentHeader,
    },
    /// A sound commit block.
    Block {
        position: FilePosition,
        header: &'a CommitBlockHeader,
        batches: usize,
    },
    /// A sound batch of a block.
    Batch {
        position: FilePosition,
        header: &'a BatchHeader,
    },
    /// A record of a batch.
    Record(&'a RecordView<'a>),
    /// Something that is not as it should be.
    Damage {
        position: FilePosition,
        until: Option<FilePosition>,
        detail: &'a str,
    },
    /// Bytes that are no block here and were never acknowledged: a write that a crash interrupted, or what an earlier use of the
    /// file left behind.
    Tail {
        position: FilePosition,
        until: Option<FilePosition>,
        detail: &'a str,
    },
    /// Nothing but zeros from here on, or a newer segment goes on.
    End { position: FilePosition },
}

/// A line for people, without its end.
impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { path, header } => write!(
                f,
                "{path}: log {}, generation {}, from offset {}",
                header.log_id, header.generation, header.base_offset
            ),
            Self::Block {
                position,
                header,
                batches,
            } => write!(
                f,
                "{position:>12}  block   offsets {}-{}, {}, {} bytes, flushed below {}, checksum {:#010x} ok",
                header.first_offset,
                header.last_offset(),
                Count(*batches as u64, "batch", "batches"),
                header.body_length,
                header.flushed_offset,
                header.body_checksum,
            ),
            Self::Batch { position, header } => write_batch(f, *position, header),
            Self::Record(record) => write_record(f, record),
            Self::Damage {
                position,
                until: Some(until),
                detail,
            } => write!(
                f,
                "{position:>12}  DAMAGE  {} bytes up to {until}: {detail}",
                until.get().saturating_sub(position.get())
            ),
            Self::Damage {
                position,
                until: None,
                detail,
            } => {
                write!(
                    f,
                    "{position:>12}  DAMAGE  no sound block from here to the end: {detail}"
                )
            }
            Self::Tail {
                position,
                until: Some(until),
                detail,
            } => write!(
                f,
                "{position:>12}  tail    {} bytes up to {until} that were never acknowledged: {detail}",
                until.get().saturating_sub(position.get())
            ),
            Self::Tail {
                position,
                until: None,
                detail,
            } => write!(
                f,
                "{position:>12}  tail    nothing acknowledged from here to the end: {detail}"
            ),
            Self::End { position } => write!(f, "{position:>12}  end"),
        }
    }
}

fn write_batch(
    f: &mut fmt::Formatter<'_>,
    position: FilePosition,
    header: &BatchHeader,
) -> fmt::Result {
    write!(
        f,
        "{position:>12}    batch   offsets {}-{}, {}, {} bytes, {}, {} {} to {}, leader epoch {}",
        header.base_offset,
        header.last_offset(),
        Count(
            u64::from(header.records_count.unsigned_abs()),
            "record",
            "records"
        ),
        header.size_bytes(),
        codec(header),
        header.attributes.timestamp_type(),
        utc::show(header.base_timestamp),
        utc::show(header.max_timestamp),
        header.partition_leader_epoch,
    )?;
    if header.producer_id.is_some() {
        write!(
            f,
            ", producer {} epoch {} sequence {}",
            header.producer_id, header.producer_epoch, header.base_sequence
        )?;
    }
    if header.attributes.is_transactional() {
        f.write_str(", transactional")?;
    }
    if header.attributes.is_control() {
        f.write_str(", control")?;
    }
    write!(f, ", crc {:#010x} ok", header.crc)
}

fn write_record(f: &mut fmt::Formatter<'_>, record: &RecordView<'_>) -> fmt::Result {
    write!(
        f,
        "{:>12}      record  offset {}, {}, key {}, value {}",
        "",
        record.offset,
        utc::show(record.timestamp),
        Quoted(record.key),
        Quoted(record.value)
    )?;
    for header in record.headers {
        write!(
            f,
            ", header {}={}",
            printable(header.key),
            Quoted(header.value)
        )?;
    }
    Ok(())
}

/// A number and what it counts.
struct Count(u64, &'static str, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            self.0,
            if self.0 == 1 { self.1 } else { self.2 }
        )
    }
}

/// Bytes in quotation marks, or null.
struct Quoted<'a>(Option<&'a [u8]>);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "\"{}\"", printable(bytes)),
            None => f.write_str("null"),
        }
    }
}

fn codec(header: &BatchHeader) -> String {
    match header.attributes.compression() {
        Ok(codec) => codec.to_string(),
        Err(error) => error.to_string(),
    }
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Self::Record(record) = self {
            #[derive(Serialize)]
            struct Tagged<'a> {
                r#type: &'static str,
                #[serde(flatten)]
                record: &'a RecordView<'a>,
            }
            return Tagged {
                r#type: "record",
                record,
            }
            .serialize(serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Segment { path, header } => {
                map.serialize_entry("type", "segment")?;
                map.serialize_entry("path", path)?;
                map.serialize_entry("log_id", &header.log_id.get())?;
                map.serialize_entry("generation", &header.generation)?;
                map.serialize_entry("base_offset", &header.base_offset.get())?;
            }
            Self::Block {
                position,
                header,
                batches,
            } => {
                map.serialize_entry("type", "block")?;
                map.serialize_entry("position", &position.get())?;
                map.serialize_entry("first_offset", &header.first_offset)?;
                map.serialize_entry("last_offset", &header.last_offset())?;
                map.serialize_entry("batches", batches)?;
                map.serialize_entry("body_bytes", &header.body_length)?;
                map.serialize_entry("flushed_offset", &header.flushed_offset)?;
                map.serialize_entry("body_checksum", &header.body_checksum)?;
            }
            Self::Batch { position, header } => {
                map.serialize_entry("type", "batch")?;
                map.serialize_entry("position", &position.get())?;
                map.serialize_entry("base_offset", &header.base_offset.get())?;
                map.serialize_entry("last_offset", &header.last_offset().get())?;
                map.serialize_entry("records", &header.records_count)?;
                map.serialize_entry("size_bytes", &header.size_bytes())?;
                map.serialize_entry("compression", &codec(header))?;
                map.serialize_entry("timestamp_type", header.attributes.timestamp_type().name())?;
                map.serialize_entry("base_timestamp", &header.base_timestamp.get())?;
                map.serialize_entry("max_timestamp", &header.max_timestamp.get())?;
                map.serialize_entry("leader_epoch", &header.partition_leader_epoch.get())?;
                map.serialize_entry("producer_id", &header.producer_id.get())?;
                map.serialize_entry("producer_epoch", &header.producer_epoch.get())?;
                map.serialize_entry("base_sequence", &header.base_sequence.get())?;
                map.serialize_entry("transactional", &header.attributes.is_transactional())?;
                map.serialize_entry("control", &header.attributes.is_control())?;
                map.serialize_entry("crc", &header.crc)?;
                map.serialize_entry("crc_ok", &true)?;
            }
            Self::Damage {
                position,
                until,
                detail,
            } => {
                map.serialize_entry("type", "damage")?;
                map.serialize_entry("position", &position.get())?;
                map.serialize_entry("until", &until.map(FilePosition::get))?;
                map.serialize_entry("detail", detail)?;
            }
            Self::Tail {
                position,
                until,
                detail,
            } => {
                map.serialize_entry("type", "tail")?;
                map.serialize_entry("position", &position.get())?;
                map.serialize_entry("until", &until.map(FilePosition::get))?;
                map.serialize_entry("detail", detail)?;
            }
            Self::End { position } => {
                map.serialize_entry("type", "end")?;
                map.serialize_entry("position", &position.get())?;
            }
            Self::Record(_) => {}
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use corelane_format::ids::{LogId, Offset};

    use super::*;
    use crate::cli::record_view::sample;

    #[test]
    fn entries_read_as_lines_and_as_json() {
        let segment = SegmentHeader {
            log_id: LogId::new(3),
            generation: 7,
            base_offset: Offset::new(40),
            history: 0,
        };
        let batch = sample::batch(Some(b"k\n"), None, &[(b"a", Some(&[0xFF]))]);
        let header = BatchHeader::parse(&batch).unwrap();
        let view = RecordView {
            topic: None,
            partition: None,
            ..sample::view(&batch)
        };
        let block = CommitBlockHeader {
            first_offset: 41,
            body_length: 90,
            flushed_offset: 41,
            body_checksum: 0xAB,
            ..CommitBlockHeader::new()
        };
        let at = FilePosition::new(4096);
        let table = [
            (
                Entry::Segment { path: "x.log", header: &segment },
                "x.log: log 3, generation 7, from offset 40".to_owned(),
                r#"{"type":"segment","path":"x.log","log_id":3,"generation":7,"base_offset":40}"#.to_owned(),
            ),
            (
                Entry::Block { position: at, header: &block, batches: 1 },
                "        4096  block   offsets 41-41, 1 batch, 90 bytes, flushed below 41, checksum 0x000000ab ok".to_owned(),
                r#"{"type":"block","position":4096,"first_offset":41,"last_offset":41,"batches":1,"body_bytes":90,"flushed_offset":41,"body_checksum":171}"#.to_owned(),
            ),
            (
                Entry::Record(&view),
                r#"                  record  offset 41, 2026-01-01T00:00:00.000Z, key "k\n", value null, header a="\xff""#.to_owned(),
                r#"{"type":"record","offset":41,"timestamp":1767225600000,"timestamp_type":"CreateTime","key":"k\n","value":null,"headers":[{"key":"a","value_base64":"/w=="}]}"#.to_owned(),
            ),
            (
                Entry::Damage { position: at, until: Some(FilePosition::new(4160)), detail: "bad" },
                "        4096  DAMAGE  64 bytes up to 4160: bad".to_owned(),
                r#"{"type":"damage","position":4096,"until":4160,"detail":"bad"}"#.to_owned(),
            ),
            (
                Entry::Damage { position: at, until: None, detail: "bad" },
                "        4096  DAMAGE  no sound block from here to the end: bad".to_owned(),
                r#"{"type":"damage","position":4096,"until":null,"detail":"bad"}"#.to_owned(),
            ),
            (
                Entry::Tail { position: at, until: None, detail: "old" },
                "        4096  tail    nothing acknowledged from here to the end: old".to_owned(),
                r#"{"type":"tail","position":4096,"until":null,"detail":"old"}"#.to_owned(),
            ),
            (
                Entry::End { position: at },
                "        4096  end".to_owned(),
                r#"{"type":"end","position":4096}"#.to_owned(),
            ),
        ];
        for (entry, line, json) in table {
            assert_eq!(entry.to_string(), line);
            assert_eq!(serde_json::to_string(&entry).unwrap(), json);
        }
        let line = Entry::Batch {
            position: at,
            header: &header,
        }
        .to_string();
        let start = "        4096    batch   offsets 41-41, 1 record, ";
        assert!(line.starts_with(start) && line.ends_with(" ok"), "{line}");
    }
}
