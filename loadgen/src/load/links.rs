//! The connections of a run: which client talks to which broker about which partitions, on which load core, and what
//! part of the rate each carries.

use super::assignment::{
    connection_groups, partitions_of_consumer, partitions_of_producer, worker_of,
};
use super::skew::{Keys, partition_weights};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// It sends.
    Produce,
    /// It reads, and what it reads is verified against the books of the set of consumers that it belongs to.
    Verify {
        /// The set; each reads the whole topic.
        set: u32,
    },
    /// It reads no faster than this. What it does not reach is not missed.
    Slow {
        /// Its rate.
        records_per_second: f64,
    },
    /// It reads from the beginning, and at the end begins again.
    Replay,
}

/// One connection of one producer or consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// The producer's or consumer's number.
    pub client: u32,
    /// What it is for.
    pub role: Role,
    /// The broker that leads its partitions.
    pub broker: i32,
    /// The partitions it writes or reads.
    pub partitions: Vec<u32>,
    /// How much of the load each of them gets, in relation to the others; empty if all get the same.
    pub weights: Vec<f64>,
    /// Its part of the whole rate, 0 to 1.
    pub share: f64,
    /// Where in its interval its first batch is due, 0 to 1, so that links do not all fire at once.
    pub phase: f64,
    /// The load core it runs on.
    pub worker: usize,
}

/// Who produces and consumes.
#[derive(Debug, Clone, Copy)]
pub struct Parties {
    /// Producers.
    pub producers: u32,
    /// Consumers.
    pub consumers: u32,
    /// Connections of each to each broker.
    pub connections: u32,
    /// Load cores.
    pub workers: usize,
    /// How keys spread the load; `None` is evenly.
    pub keys: Option<Keys>,
}

/// The producers' connections; `leaders` are the brokers that lead the partitions, by partition.
pub fn producer_links(parties: &Parties, leaders: &[i32]) -> Vec<Link> {
    let all = leaders.len() as u32;
    let weights = partition_weights(parties.keys, all);
    let owned = |producer| partitions_of_producer(producer, parties.producers, all);
    let mut writers = vec![0.0; leaders.len()];
    for partition in (0..parties.producers).flat_map(owned) {
        writers[partition as usize] += 1.0;
    }
    let mut links = Vec::new();
    for producer in 0..parties.producers {
        let own = owned(producer);
        let producer_share = 1.0 / f64::from(parties.producers);
        for (broker, partitions) in
            connection_groups(&with_leaders(&own, leaders), parties.connections)
        {
            // Without keys all producers send alike, whatever partitions they have.
            let (share, weights) = if parties.keys.is_some() {
                let weights: Vec<f64> = partitions
                    .iter()
                    .map(|partition| weights[*partition as usize] / writers[*partition as usize])
                    .collect();
                (weights.iter().sum(), weights)
            } else {
                let share = producer_share * partitions.len() as f64 / own.len() as f64;
                (share, Vec::new())
            };
            links.push(Link {
                client: producer,
                role: Role::Produce,
                broker,
                partitions,
                weights,
                share,
                phase: 0.0,
                worker: worker_of(producer, parties.workers),
            });
        }
    }
    // Keys may leave a partition without any load.
    links.retain(|link| link.share > 0.0);
    let count = links.len() as f64;
    for (index, link) in links.iter_mut().enumerate() {
        link.phase = index as f64 / count;
    }
    links
}

/// The connections of consumers that share the partitions evenly.
pub fn consumer_links(parties: &Parties, leaders: &[i32], role: Role) -> Vec<Link> {
    let own = |consumer| partitions_of_consumer(consumer, parties.consumers, leaders.len() as u32);
    let assignments: Vec<Vec<u32>> = (0..parties.consumers).map(own).collect();
    assigned_links(parties, leaders, role, &assignments)
}

/// The connections of consumers with the given partitions.
pub fn assigned_links(
    parties: &Parties,
    leaders: &[i32],
    role: Role,
    assignments: &[Vec<u32>],
) -> Vec<Link> {
    let mut links = Vec::new();
    for (consumer, own) in (0..).zip(assignments) {
        // Consumers go on where producers ended, so that one of each does not share a core while another idles.
        let worker = worker_of(parties.producers.wrapping_add(consumer), parties.workers);
        for (broker, partitions) in
            connection_groups(&with_leaders(own, leaders), parties.connections)
        {
            links.push(Link {
                client: consumer,
                role,
                broker,
                partitions,
                weights: Vec::new(),
                share: 0.0,
                phase: 0.0,
                worker,
            });
        }
    }
    links
}

fn with_leaders(partitions: &[u32], leaders: &[i32]) -> Vec<(u32, i32)> {
    partitions
        .iter()
        .map(|partition| (*partition, leaders[*partition as usize]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_whole_rate_and_phases_are_spread() {
        for (producers, connections) in [(1, 1), (3, 1), (4, 2), (16, 1)] {
            let parties = Parties {
                producers,
                consumers: 0,
                connections,
                workers: 2,
                keys: None,
            };
            let links = producer_links(&parties, &[1000, 1001, 1000, 1001, 1000]);
            let total: f64 = links.iter().map(|link| link.share).sum();
            assert!((total - 1.0).abs() < 1e-9, "{producers} producers: {total}");
            assert!(links.windows(2).all(|pair| pair[0].phase < pair[1].phase));
            assert!(links.iter().all(|link| link.phase < 1.0 && link.worker < 2));
        }
    }

    #[test]
    fn a_producer_and_a_consumer_use_both_cores() {
        let parties = Parties {
            producers: 1,
            consumers: 1,
            connections: 1,
            workers: 2,
            keys: None,
        };
        let (producers, consumers) = (
            producer_links(&parties, &[1]),
            consumer_links(&parties, &[1], Role::Verify { set: 0 }),
        );
        assert_eq!((producers[0].worker, consumers[0].worker), (0, 1));
    }

    #[test]
    fn a_consumer_has_a_connection_to_each_of_its_brokers() {
        let parties = Parties {
            producers: 1,
            consumers: 2,
            connections: 1,
            workers: 1,
            keys: None,
        };
        let links = consumer_links(&parties, &[1000, 1001, 1001, 1000], Role::Verify { set: 0 });
        let shown: Vec<_> = links
            .iter()
            .map(|link| (link.client, link.broker, link.partitions.clone()))
            .collect();
        let expected = [
            (0, 1000, vec![0]),
            (0, 1001, vec![2]),
            (1, 1000, vec![3]),
            (1, 1001, vec![1]),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn keys_make_shares_uneven_and_keep_their_sum() {
        let parties = Parties {
            producers: 4,
            consumers: 0,
            connections: 1,
            workers: 1,
            keys: Some(Keys {
                count: 1_000,
                skew: 1.5,
            }),
        };
        // More producers than partitions, and fewer.
        for partitions in [2, 8] {
            let links = producer_links(&parties, &vec![1; partitions]);
            let shares: Vec<f64> = links.iter().map(|link| link.share).collect();
            assert!(
                (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9,
                "{shares:?}"
            );
            assert!(shares.iter().any(|share| *share > 0.3), "{shares:?}");
            assert!(
                links
                    .iter()
                    .all(|link| link.weights.len() == link.partitions.len())
            );
        }
    }
}
