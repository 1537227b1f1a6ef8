//! A connection whose socket never runs dry still gives its lane turns, even inside one large frame.

use corelane_net::api;
use corelane_net::server::{CONTROL_FRAME_BYTES_MAX, CloseReason, ConnectionLimits, Pending};

use crate::support::{
    TestService, correlation_id, frame, read_response, response, run, serve, write,
};

#[test]
fn a_large_frame_comes_whole_and_costs_turns() {
    run(|| async {
        let service = TestService::new(|_, frame| {
            assert!(
                frame[8..]
                    .iter()
                    .zip((0_u8..=255).cycle())
                    .all(|(byte, expected)| *byte == expected)
            );
            Pending::Ready(response(
                correlation_id(frame),
                (frame.len() as u64).to_be_bytes().to_vec(),
            ))
        });
        let server = serve(&service, ConnectionLimits::default());
        let mut stream = server.connect().await;
        let body: Vec<u8> = (0_u8..=255).cycle().take(20 << 20).collect();
        // Only a Produce request may be that long.
        let mut large = frame(1, &body);
        large[4..6].copy_from_slice(&api::PRODUCE.to_be_bytes());
        write(&mut stream, &large).await;
        let (_, size) = read_response(&mut stream).await.unwrap();
        assert_eq!(size, (8 + (20_u64 << 20)).to_be_bytes());
        // And the connection goes on.
        write(&mut stream, &frame(2, &[0, 1, 2])).await;
        assert_eq!(read_response(&mut stream).await.unwrap().0, 2);
    });
}

#[test]
fn a_long_request_without_records_is_refused_by_its_first_bytes() {
    run(|| async {
        let service = TestService::new(|_, frame| {
            Pending::Ready(response(correlation_id(frame), Vec::new()))
        });
        let server = serve(&service, ConnectionLimits::default());
        let stated = CONTROL_FRAME_BYTES_MAX + 1;
        for api_key in [api::FETCH, api::METADATA, 32_000] {
            let mut stream = server.connect().await;
            let mut start = frame(1, b"");
            start.extend_from_slice(&(stated as i32).to_be_bytes());
            start.extend_from_slice(&api_key.to_be_bytes());
            write(&mut stream, &start).await;
            // What came before it is answered; no further byte is awaited.
            assert_eq!(read_response(&mut stream).await.unwrap().0, 1);
            assert!(read_response(&mut stream).await.is_none());
            server.ended(1).await;
            let reason = server.closed.borrow_mut().remove(0);
            assert!(matches!(
                reason,
                CloseReason::RequestTooLarge { api_key: key, got, limit: CONTROL_FRAME_BYTES_MAX }
                    if key == api_key && got == stated
            ));
        }
        // The limit itself is allowed.
        let mut stream = server.connect().await;
        write(
            &mut stream,
            &frame(2, &vec![0; CONTROL_FRAME_BYTES_MAX - 8]),
        )
        .await;
        assert_eq!(read_response(&mut stream).await.unwrap().0, 2);
    });
}
