//! Who writes and reads which partition, and on which load core it runs.
//!
//! Invariants: every partition has at least one producer and, when there are consumers, exactly one consumer; the
//! partitions of a producer are spread evenly; a producer's batches for one partition all travel over one
//! connection, so that their order is kept.

/// The partitions producer number `producer` writes. With more producers than partitions several share one; with
/// more partitions than producers each has every `producers`-th.
pub fn partitions_of_producer(producer: u32, producers: u32, partitions: u32) -> Vec<u32> {
    if producers >= partitions {
        vec![producer % partitions]
    } else {
        (0..partitions)
            .filter(|partition| partition % producers == producer)
            .collect()
    }
}

/// The partitions consumer number `consumer` reads.
pub fn partitions_of_consumer(consumer: u32, consumers: u32, partitions: u32) -> Vec<u32> {
    (0..partitions)
        .filter(|partition| partition % consumers == consumer)
        .collect()
}

/// Which of `workers` load cores the `index`-th task of a kind runs on.
pub fn worker_of(index: u32, workers: usize) -> usize {
    index as usize % workers
}

/// Splits the partitions a client talks to into groups: one group for each connection. Partitions led by
/// different brokers never share a connection; a broker's partitions go round its `connections_per_broker`
/// connections, and no connection is left without a partition.
pub fn connection_groups(
    partitions: &[(u32, i32)],
    connections_per_broker: u32,
) -> Vec<(i32, Vec<u32>)> {
    let mut brokers: Vec<i32> = partitions.iter().map(|(_, broker)| *broker).collect();
    brokers.sort_unstable();
    brokers.dedup();
    let mut groups = Vec::new();
    for broker in brokers {
        let led: Vec<u32> = partitions
            .iter()
            .filter(|(_, leader)| *leader == broker)
            .map(|(partition, _)| *partition)
            .collect();
        let count = led.len().min(connections_per_broker.max(1) as usize);
        for connection in 0..count {
            groups.push((
                broker,
                led.iter()
                    .copied()
                    .skip(connection)
                    .step_by(count)
                    .collect(),
            ));
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_producer() {
        for producers in 1..12 {
            for partitions in 1..12 {
                let mut seen = vec![0u32; partitions as usize];
                for producer in 0..producers {
                    let own = partitions_of_producer(producer, producers, partitions);
                    assert!(
                        !own.is_empty(),
                        "producer {producer} of {producers} has nothing of {partitions}"
                    );
                    for partition in own {
                        seen[partition as usize] += 1;
                    }
                }
                let (least, most) = (seen.iter().min().unwrap(), seen.iter().max().unwrap());
                assert!(
                    *least >= 1 && most - least <= 1,
                    "{producers} over {partitions}: {seen:?}"
                );
            }
        }
    }

    #[test]
    fn every_partition_has_exactly_one_consumer() {
        for consumers in 1..8 {
            for partitions in consumers..20 {
                let mut all: Vec<u32> = (0..consumers)
                    .flat_map(|c| partitions_of_consumer(c, consumers, partitions))
                    .collect();
                all.sort_unstable();
                assert_eq!(all, (0..partitions).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn connections_never_mix_brokers_and_are_never_idle() {
        let partitions = [(0, 1000), (1, 1001), (2, 1000), (3, 1001), (4, 1000)];
        assert_eq!(
            connection_groups(&partitions, 1),
            vec![(1000, vec![0, 2, 4]), (1001, vec![1, 3])]
        );
        assert_eq!(
            connection_groups(&partitions, 2),
            vec![
                (1000, vec![0, 4]),
                (1000, vec![2]),
                (1001, vec![1]),
                (1001, vec![3])
            ]
        );
        assert_eq!(connection_groups(&[(7, 5)], 4), vec![(5, vec![7])]);
    }
}
