//! Kafka requests written out by hand, in old versions that have no tagged fields, over a blocking connection.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Only ends a test that would hang.
const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const PRODUCE: i16 = 0;
pub(crate) const FETCH: i16 = 1;
pub(crate) const LIST_OFFSETS: i16 = 2;
pub(crate) const METADATA: i16 = 3;
pub(crate) const API_VERSIONS: i16 = 18;
pub(crate) const CREATE_TOPICS: i16 = 19;
pub(crate) const INIT_PRODUCER_ID: i16 = 22;

/// A connection that says exactly what a test wants it to say.
pub(crate) struct Connection {
    stream: TcpStream,
    correlation_id: i32,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A response, after its correlation id.
    Body(Vec<u8>),
    /// The server closed the connection.
    Closed,
}

impl Answer {
    /// The response's body.
    pub(crate) fn body(self) -> Vec<u8> {
        match self {
            Self::Body(body) => body,
            Self::Closed => panic!("the server closed the connection"),
        }
    }
}

/// A request with its header, without the length before it.
pub(crate) fn request(api_key: i16, api_version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(api_key.to_be_bytes());
    bytes.extend(api_version.to_be_bytes());
    bytes.extend(correlation_id.to_be_bytes());
    put_string("raw", &mut bytes);
    bytes.extend(body);
    bytes
}

/// The same with its length before it.
pub(crate) fn frame(request: &[u8]) -> Vec<u8> {
    let mut bytes = (request.len() as i32).to_be_bytes().to_vec();
    bytes.extend(request);
    bytes
}

impl Connection {
    pub(crate) fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout can be set");
        stream
            .set_write_timeout(Some(DEADLINE))
            .expect("a timeout can be set");
        stream.set_nodelay(true).expect("a TCP connection");
        Self {
            stream,
            correlation_id: 0,
        }
    }

    /// A number that no request of this connection had before.
    pub(crate) fn next_correlation_id(&mut self) -> i32 {
        self.correlation_id += 1;
        self.correlation_id
    }

    /// Sends bytes as they are. What a server that closes early does not take is no failure.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// No more bytes will come from this side.
    pub(crate) fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&mut self, api_key: i16, api_version: i16, body: &[u8]) -> Answer {
        self.correlation_id += 1;
        self.send_raw(&frame(&request(
            api_key,
            api_version,
            self.correlation_id,
            body,
        )));
        self.receive(self.correlation_id)
    }

    /// Waits for the answer with this correlation id.
    pub(crate) fn receive(&mut self, correlation_id: i32) -> Answer {
        let mut head = [0; 8];
        if !self.read(&mut head) {
            return Answer::Closed;
        }
        let length = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let got = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        assert_eq!(got, correlation_id, "correlation id of the answer");
        let mut body = vec![0; usize::try_from(length - 4).expect("a length of at least 4")];
        assert!(
            self.read(&mut body),
            "the connection was closed in the middle of an answer"
        );
        Answer::Body(body)
    }

    /// False if the other side closed the connection.
    fn read(&mut self, bytes: &mut [u8]) -> bool {
        match self.stream.read_exact(bytes) {
            Ok(()) => true,
            Err(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => false,
                _ => panic!("no answer within {DEADLINE:?}: {error}"),
            },
        }
    }
}

/// Writes a string with its length in two bytes.
pub(crate) fn put_string(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as i16).to_be_bytes());
    out.extend(text.as_bytes());
}

/// Produce version 3: one partition, `records` as they are.
pub(crate) fn produce_body(topic: &str, partition: i32, acks: i16, records: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend((-1_i16).to_be_bytes()); // no transactional id
    body.extend(acks.to_be_bytes());
    body.extend(30_000_i32.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    put_string(topic, &mut body);
    body.extend(1_i32.to_be_bytes());
    body.extend(partition.to_be_bytes());
    body.extend((records.len() as i32).to_be_bytes());
    body.extend(records);
    body
}

/// What a Produce response of versions 3 and 4 says of its one partition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Produced {
    pub(crate) error_code: i16,
    pub(crate) base_offset: i64,
}

impl Produced {
    /// Stored from this offset on.
    pub(crate) fn at(base_offset: i64) -> Self {
        Self {
            error_code: 0,
            base_offset,
        }
    }
}

/// Reads a Produce response of versions 3 and 4 with one partition.
pub(crate) fn read_produced(body: &[u8]) -> Produced {
    let mut reader = Reader(body);
    assert_eq!(reader.i32(), 1, "topics in the response");
    reader.string();
    assert_eq!(reader.i32(), 1, "partitions in the response");
    reader.i32();
    Produced {
        error_code: reader.i16(),
        base_offset: reader.i64(),
    }
}

impl Connection {
    /// Produces to one partition with acks=all.
    pub(crate) fn produce(&mut self, topic: &str, partition: i32, records: &[u8]) -> Produced {
        read_produced(
            &self
                .ask(PRODUCE, 3, &produce_body(topic, partition, -1, records))
                .body(),
        )
    }

    /// A new producer id and its epoch.
    pub(crate) fn init_producer_id(&mut self) -> (i64, i16) {
        let mut body = (-1_i16).to_be_bytes().to_vec(); // no transactional id
        body.extend(60_000_i32.to_be_bytes());
        // A broker may answer that it is not ready for a moment after its start.
        for _ in 0..200 {
            let answer = self.ask(INIT_PRODUCER_ID, 0, &body).body();
            let mut reader = Reader(&answer);
            reader.i32(); // throttle time
            match reader.i16() {
                0 => return (reader.i64(), reader.i16()),
                14 | 15 => std::thread::sleep(Duration::from_millis(50)),
                error => panic!("InitProducerId was answered with error {error}"),
            }
        }
        panic!("no producer id within ten seconds");
    }

    /// `ListOffsets` version 1 of one partition: error code, timestamp, offset.
    pub(crate) fn list_offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp_ms: i64,
    ) -> (i16, i64, i64) {
        let mut body = (-1_i32).to_be_bytes().to_vec(); // no replica
        body.extend(1_i32.to_be_bytes());
        put_string(topic, &mut body);
        body.extend(1_i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        body.extend(timestamp_ms.to_be_bytes());
        let answer = self.ask(LIST_OFFSETS, 1, &body).body();
        let mut reader = Reader(&answer);
        reader.i32();
        reader.string();
        reader.i32();
        reader.i32();
        (reader.i16(), reader.i64(), reader.i64())
    }

    /// Fetch version 4 of one partition: error code, high watermark, records.
    pub(crate) fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> (i16, i64, Vec<u8>) {
        let mut body = (-1_i32).to_be_bytes().to_vec(); // no replica
        body.extend(0_i32.to_be_bytes()); // wait for nothing
        body.extend(0_i32.to_be_bytes());
        body.extend((8_i32 << 20).to_be_bytes());
        body.push(0); // read uncommitted
        body.extend(1_i32.to_be_bytes());
        put_string(topic, &mut body);
        body.extend(1_i32.to_be_bytes());
        body.extend(partition.to_be_bytes());
        body.extend(offset.to_be_bytes());
        body.extend((8_i32 << 20).to_be_bytes());
        let answer = self.ask(FETCH, 4, &body).body();
        let mut reader = Reader(&answer);
        reader.i32(); // throttle time
        reader.i32();
        reader.string();
        reader.i32();
        reader.i32();
        let (error_code, high_watermark) = (reader.i16(), reader.i64());
        reader.i64(); // last stable offset
        let aborted = reader.i32().max(0);
        assert_eq!(aborted, 0, "aborted transactions");
        let length = reader.i32().max(0) as usize;
        (error_code, high_watermark, reader.0[..length].to_vec())
    }
}

/// Reads big-endian fields one after the other.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self
            .0
            .split_first_chunk::<N>()
            .expect("the response is long enough");
        self.0 = rest;
        *field
    }

    pub(crate) fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    pub(crate) fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    pub(crate) fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }

    pub(crate) fn string(&mut self) -> String {
        let length = usize::try_from(self.i16()).expect("a string that is not null");
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8(text.to_vec()).expect("a string of UTF-8")
    }
}
