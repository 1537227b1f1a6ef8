//! Responses leave in the order of the requests, whatever order they are made in.

use std::rc::Rc;

use corelane_net::server::{ConnectionLimits, Pending};

use crate::support::{
    Gate, TestService, correlation_id, frame, read_response, response, run, serve, write,
};

const COUNT: usize = 100;

#[test]
fn responses_made_backwards_leave_forwards() {
    run(|| async {
        let gates: Rc<Vec<Gate>> = Rc::new((0..COUNT).map(|_| Gate::default()).collect());
        let seen = Gate::default();
        let (gates_inside, seen_inside) = (Rc::clone(&gates), seen.clone());
        let service = TestService::new(move |_, frame| {
            let id = correlation_id(frame);
            if id as usize == COUNT - 1 {
                seen_inside.open();
            }
            match id % 5 {
                0 => Pending::Ready(response(id, vec![1; id as usize])),
                1 => Pending::NoResponse,
                _ => {
                    let gate = gates_inside[id as usize].clone();
                    Pending::Later(Box::pin(async move {
                        gate.passed().await;
                        Ok(response(id, vec![2; id as usize * 100]))
                    }))
                }
            }
        });
        let server = serve(&service, ConnectionLimits::default());
        let mut stream = server.connect().await;
        let requests: Vec<u8> = (0..COUNT)
            .flat_map(|id| frame(id as i32, &[0; 50]))
            .collect();
        write(&mut stream, &requests).await;
        seen.passed().await;
        for gate in gates.iter().rev() {
            gate.open();
        }
        for id in (0..COUNT as i32).filter(|id| id % 5 != 1) {
            let (got, body) = read_response(&mut stream).await.unwrap();
            assert_eq!(got, id);
            assert_eq!(
                body.len(),
                if id % 5 == 0 {
                    id as usize
                } else {
                    id as usize * 100
                }
            );
        }
        assert_eq!(service.asked.get(), COUNT);
        assert!(service.turns.get() >= COUNT);
    });
}

#[test]
fn a_response_does_not_wait_for_later_requests() {
    run(|| async {
        let never = Gate::default();
        let gate = never.clone();
        let service = TestService::new(move |_, frame| {
            let id = correlation_id(frame);
            let gate = gate.clone();
            if id == 0 {
                return Pending::Ready(response(id, Vec::new()));
            }
            Pending::Later(Box::pin(async move {
                gate.passed().await;
                Ok(response(id, Vec::new()))
            }))
        });
        let server = serve(&service, ConnectionLimits::default());
        let mut stream = server.connect().await;
        write(&mut stream, &[frame(0, b""), frame(1, b"")].concat()).await;
        assert_eq!(read_response(&mut stream).await.unwrap().0, 0);
        never.open();
        assert_eq!(read_response(&mut stream).await.unwrap().0, 1);
    });
}
