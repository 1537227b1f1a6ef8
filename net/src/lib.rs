//! Wire protocols, connections, clients.
