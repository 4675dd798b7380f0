//! How many WeChat Pay prepay calls the sandbox answers per second and core: `cargo run --release -p sandbox --example
//! prepay`. Requests are signed beforehand; client and server share the process, so the CPU figure is an upper bound.

use std::time::{Duration, Instant};

use keys::{RsaSigner, Signer as _};

const CALLS: usize = 8_000;
const CONNECTIONS: usize = 32;

/// User and system time of this process so far.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().filter_map(|n| fields.get(*n)?.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let options = sandbox::Options {
        dir: dir.path().to_owned(),
        port_base: 0,
        seed: 1,
        faults: std::collections::BTreeMap::new(),
    };
    let running = sandbox::start(options).await?;
    let base = running.channels.get("wechat").cloned().unwrap_or_default();
    let text = std::fs::read_to_string(dir.path().join("wechat/credentials.toml"))?;
    let credentials: toml::Table = text.parse()?;
    let field = |name: &str| credentials.get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
    let signer = RsaSigner::from_pkcs8_pem(&std::fs::read_to_string(field("merchant_key"))?)?;
    let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let target = "/v3/pay/transactions/native";
    let mut calls = Vec::with_capacity(CALLS);
    for n in 0..CALLS {
        let body = format!(
            "{{\"appid\":\"{}\",\"mchid\":\"{}\",\"description\":\"lunch\",\"out_trade_no\":\"B{n:09}\",\
             \"notify_url\":\"http://127.0.0.1:9/n\",\"amount\":{{\"total\":1850}}}}",
            field("appid"),
            field("mchid")
        );
        let signature = signer.sign(format!("POST\n{target}\n{at}\n{n}\n{body}\n").as_bytes())?;
        let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, signature);
        let authorization = format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{}\",nonce_str=\"{n}\",signature=\"{signature}\",timestamp=\"{at}\",serial_no=\"{}\"",
            field("mchid"),
            field("merchant_serial")
        );
        calls.push((authorization, body));
    }
    let client = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
    let (started, cpu_before) = (Instant::now(), cpu());
    let shares = calls.chunks(CALLS.div_ceil(CONNECTIONS));
    let good = futures::future::join_all(shares.map(|share| {
        let (client, url) = (client.clone(), format!("{base}{target}"));
        async move {
            let mut good = 0;
            for (authorization, body) in share {
                let call = client
                    .post(&url)
                    .header("authorization", authorization)
                    .header("accept", "application/json");
                let call = call
                    .header("user-agent", "bench")
                    .header("content-type", "application/json")
                    .body(body.clone());
                good += usize::from(call.send().await.is_ok_and(|answer| answer.status().is_success()));
            }
            good
        }
    }))
    .await;
    let (took, burnt) = (started.elapsed(), cpu().saturating_sub(cpu_before));
    let good: usize = good.into_iter().sum();
    anyhow::ensure!(good == CALLS, "{good} of {CALLS} were answered well");
    let per_s = |span: Duration| u128::try_from(good).unwrap_or_default() * 1_000 / span.as_millis().max(1);
    tracing_line(&format!(
        "{good} prepay calls: {}/s; {}/s per core of CPU burnt, client included",
        per_s(took),
        per_s(burnt)
    ));
    running.stop().await;
    Ok(())
}

fn tracing_line(text: &str) {
    use std::io::Write as _;
    let _nobody_reads = writeln!(std::io::stdout(), "{text}");
}
