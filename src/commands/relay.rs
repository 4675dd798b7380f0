//! `rushpay relay`: a forwarder for a public host.

use crate::{
    cli::Relay,
    config::{Log, LogFormat},
    relay::{self, Options},
};

pub(super) async fn run(args: Relay) -> anyhow::Result<bool> {
    let good = args.to.starts_with("http://") || args.to.starts_with("https://");
    anyhow::ensure!(good, "--to {:?}: expected an address such as http://10.0.0.5:8080", args.to);
    crate::logging::start(&Log { level: "info,actix_server=warn".to_owned(), format: LogFormat::Text })?;
    let options = Options { listen: args.listen, to: args.to, dir: args.dir, max_bytes: args.max_mib << 20 };
    relay::run(options, super::serve::stop_asked()).await?;
    Ok(true)
}
