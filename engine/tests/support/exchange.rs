//! Requests of any API in any version, by the generated codecs, over a blocking connection.

use bytes::{Bytes, BytesMut};
use corelane_net::api::{
    control_limits, flexible_response_header, put_request_header, supported_api,
};
use kafka_wire::RequestResponsePair;
use kafka_wire_core::{ApiVersion, Decoder, KafkaDecode, KafkaEncode};

use super::wire::{Answer, Connection, frame};

/// What the connections of this module call themselves.
pub(crate) const CLIENT_ID: &str = "exchange";

impl Connection {
    /// Sends a request; [`Connection::take`] waits for its answer. Gives the correlation id.
    pub(crate) fn put<R: RequestResponsePair + KafkaEncode>(
        &mut self,
        request: &R,
        version: i16,
    ) -> i32 {
        let key = R::API_KEY.value();
        let api = supported_api(key).expect("an API that is served");
        let id = self.next_correlation_id();
        let mut bytes = Vec::new();
        put_request_header(
            &mut bytes,
            key,
            version,
            id,
            Some(CLIENT_ID),
            api.is_flexible(version),
        );
        let mut body = BytesMut::new();
        request
            .encode_into(&mut body, ApiVersion::new(version))
            .unwrap_or_else(|error| panic!("{} version {version}: {error}", api.name));
        bytes.extend_from_slice(&body);
        self.send_raw(&frame(&bytes));
        id
    }

    /// The answer to a request that was put.
    pub(crate) fn take<R: RequestResponsePair>(
        &mut self,
        id: i32,
        version: i16,
    ) -> Option<R::Response>
    where
        R::Response: KafkaDecode,
    {
        let Answer::Body(body) = self.receive(id) else {
            return None;
        };
        let head = usize::from(flexible_response_header::<R::Response>(version));
        let body = Bytes::from(body).slice(head..);
        let limits = control_limits(body.len());
        let mut decoder = Decoder::new(body, limits).expect("within the limits");
        let response = R::Response::decode(&mut decoder, ApiVersion::new(version));
        Some(response.unwrap_or_else(|error| panic!("version {version}: {error}")))
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn exchange<R: RequestResponsePair + KafkaEncode>(
        &mut self,
        request: &R,
        version: i16,
    ) -> R::Response
    where
        R::Response: KafkaDecode,
    {
        let id = self.put(request, version);
        self.take::<R>(id, version)
            .expect("the server closed the connection")
    }
}
