//! Reading without a group: the partitions asked for, from where they were asked for.

use super::reader::Reader;
use super::{ConsumeArgs, plan};
use crate::cli::Outcome;
use crate::cli::client::Client;

/// Runs `corelane consume` without `--group`.
pub(super) async fn run(arguments: ConsumeArgs) -> anyhow::Result<Outcome> {
    let mut client = Client::connect(&arguments.client).await?;
    let topic = client.topic(&arguments.topic).await?;
    let partitions = plan::wanted(&arguments, &topic)?;
    let resumed = plan::Resumed::new();
    let positions = plan::make(&mut client, &arguments, &topic, &partitions, &resumed).await?;
    let mut reader = Reader::new(arguments, client);
    reader.read(positions);
    loop {
        if !reader.start().await? {
            continue;
        }
        if reader.is_done() {
            break;
        }
        let fetched = reader.answered().recv_async().await?;
        reader.take(fetched).await?;
    }
    reader.flush()?;
    Ok(Outcome::Success)
}
