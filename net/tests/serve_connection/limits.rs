//! A connection whose socket never runs dry still gives its lane turns, even inside one large frame.

use corelane_net::server::{ConnectionLimits, Pending};

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
        write(&mut stream, &frame(1, &body)).await;
        let (_, size) = read_response(&mut stream).await.unwrap();
        assert_eq!(size, (8 + (20_u64 << 20)).to_be_bytes());
        // And the connection goes on.
        write(&mut stream, &frame(2, &[0, 1, 2])).await;
        assert_eq!(read_response(&mut stream).await.unwrap().0, 2);
    });
}
