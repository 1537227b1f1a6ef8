//! An asynchronous Kafka client for glommio.
