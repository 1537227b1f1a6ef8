//! One record as `consume` and `log dump` show it.

use std::borrow::Cow;

use corelane_format::ids::{Offset, TimestampMs};
use corelane_format::kafka::{Header, Headers, TimestampType};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::base64;

/// A record and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordView<'a> {
    /// The topic, where it is known.
    pub(crate) topic: Option<&'a str>,
    /// The partition, where it is known.
    pub(crate) partition: Option<i32>,
    /// The record's own offset.
    pub(crate) offset: Offset,
    /// Its time.
    pub(crate) timestamp: TimestampMs,
    /// Whose clock that is.
    pub(crate) timestamp_type: TimestampType,
    /// The key, or null.
    pub(crate) key: Option<&'a [u8]>,
    /// The value, or null.
    pub(crate) value: Option<&'a [u8]>,
    /// The headers, in order, duplicates included.
    pub(crate) headers: Headers<'a>,
}

/// A JSON object: bytes are a string under their name where they are UTF-8, and else base64 under `NAME_base64`.
impl Serialize for RecordView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(topic) = self.topic {
            map.serialize_entry("topic", topic)?;
        }
        if let Some(partition) = self.partition {
            map.serialize_entry("partition", &partition)?;
        }
        map.serialize_entry("offset", &self.offset.get())?;
        map.serialize_entry("timestamp", &self.timestamp.get())?;
        map.serialize_entry("timestamp_type", self.timestamp_type.name())?;
        bytes_entry(&mut map, "key", "key_base64", self.key)?;
        bytes_entry(&mut map, "value", "value_base64", self.value)?;
        map.serialize_entry("headers", &HeadersView(self.headers))?;
        map.end()
    }
}

struct HeadersView<'a>(Headers<'a>);

impl Serialize for HeadersView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for header in self.0 {
            list.serialize_element(&HeaderView(header))?;
        }
        list.end()
    }
}

struct HeaderView<'a>(Header<'a>);

impl Serialize for HeaderView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        bytes_entry(&mut map, "key", "key_base64", Some(self.0.key))?;
        bytes_entry(&mut map, "value", "value_base64", self.0.value)?;
        map.end()
    }
}

fn bytes_entry<M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    name_base64: &'static str,
    bytes: Option<&[u8]>,
) -> Result<(), M::Error> {
    match bytes.map(|bytes| (str::from_utf8(bytes), bytes)) {
        None => map.serialize_entry(name, &None::<&str>),
        Some((Ok(text), _)) => map.serialize_entry(name, text),
        Some((Err(_), bytes)) => map.serialize_entry(name_base64, &base64::encode(bytes)),
    }
}

/// Bytes for a terminal: text as it is, but for control characters and what is no UTF-8, which are escaped.
pub(crate) fn printable(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => Cow::Borrowed(text),
        Ok(text) => Cow::Owned(
            text.chars()
                .flat_map(|character| {
                    let escaped = character.is_control().then(|| character.escape_default());
                    let plain = escaped.is_none().then_some(character);
                    escaped.into_iter().flatten().chain(plain)
                })
                .collect(),
        ),
        Err(_) => Cow::Owned(bytes.escape_ascii().to_string()),
    }
}

/// Records for tests.
#[cfg(test)]
pub(crate) mod sample {
    use corelane_format::kafka::{
        BATCH_HEADER_BYTES, BatchBuilder, BatchHeader, Compression, records,
    };

    use super::*;

    /// A batch of one record.
    pub(crate) fn batch(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder
            .compression(Compression::None)
            .base_offset(Offset::new(41));
        builder
            .append(TimestampMs::new(1_767_225_600_000), key, value, headers)
            .unwrap();
        let mut bytes = Vec::new();
        builder.finish_into(&mut bytes).unwrap();
        bytes
    }

    /// The record of such a batch, at partition 3 of `orders`.
    pub(crate) fn view(batch: &[u8]) -> RecordView<'_> {
        let header = BatchHeader::parse(batch).unwrap();
        let record = records(&header, &batch[BATCH_HEADER_BYTES..])
            .next()
            .unwrap()
            .unwrap();
        RecordView {
            topic: Some("orders"),
            partition: Some(3),
            offset: header.base_offset.plus(i64::from(record.offset_delta)),
            timestamp: record.timestamp,
            timestamp_type: header.attributes.timestamp_type(),
            key: record.key,
            value: record.value,
            headers: record.headers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_holds_text_as_text_and_other_bytes_as_base64() {
        let batch = sample::batch(
            Some("schlüssel".as_bytes()),
            Some(&[0xFF, 0x00]),
            &[(b"a", Some(b"1")), (b"a", None), (&[0xFE], Some(&[0xFD]))],
        );
        let json = serde_json::to_string(&sample::view(&batch)).unwrap();
        assert_eq!(
            json,
            r#"{"topic":"orders","partition":3,"offset":41,"timestamp":1767225600000,"timestamp_type":"CreateTime","key":"schlüssel","value_base64":"/wA=","headers":[{"key":"a","value":"1"},{"key":"a","value":null},{"key_base64":"/g==","value_base64":"/Q=="}]}"#
        );
    }

    #[test]
    fn null_and_empty_differ_and_unknown_places_are_left_out() {
        let batch = sample::batch(None, Some(b""), &[]);
        let view = RecordView {
            topic: None,
            partition: None,
            ..sample::view(&batch)
        };
        let json = serde_json::to_string(&view).unwrap();
        assert_eq!(
            json,
            r#"{"offset":41,"timestamp":1767225600000,"timestamp_type":"CreateTime","key":null,"value":"","headers":[]}"#
        );
    }

    #[test]
    fn nothing_printable_can_steer_a_terminal() {
        let table: [(&[u8], &str); 4] = [
            (b"plain", "plain"),
            ("grün".as_bytes(), "grün"),
            (b"a\x1b[2Jb\n", "a\\u{1b}[2Jb\\n"),
            (&[b'a', 0xFF], "a\\xff"),
        ];
        for (bytes, expected) in table {
            assert_eq!(printable(bytes), expected);
        }
    }
}
