//! A running service, spoken to over its admin API.
//!
//! A refusal is printed on standard error as the service worded it, and is no answer. Only a service that does not
//! answer, or answers what is not JSON, is an error.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::cli::Target;

/// The service, with the operator's token.
pub(super) struct Operator<'t> {
    client: reqwest::Client,
    target: &'t Target,
}

impl Operator<'_> {
    /// # Errors
    /// The machine's certificates cannot be read.
    pub(super) fn new(target: &Target) -> anyhow::Result<Operator<'_>> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10));
        let plain = target.target.starts_with("http://");
        let client = if plain { client.tls_certs_only([]) } else { client }.build()?;
        Ok(Operator { client, target })
    }

    /// Reads. `None`: refused, and the refusal is printed.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Option<Value>> {
        self.ask(self.call(Method::GET, path)).await
    }

    /// Reads what these parameters choose.
    pub(super) async fn find(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> anyhow::Result<Option<Value>> {
        self.ask(self.call(Method::GET, path).query(parameters)).await
    }

    /// Changes.
    pub(super) async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Option<Value>> {
        self.ask(self.call(Method::PATCH, path).json(body)).await
    }

    /// Acts.
    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Option<Value>> {
        self.ask(self.call(Method::POST, path).json(body)).await
    }

    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/admin/v1{path}", self.target.target.trim_end_matches('/'));
        let call = self.client.request(method, url);
        if self.target.token.is_empty() { call } else { call.bearer_auth(&self.target.token) }
    }

    async fn ask(&self, call: RequestBuilder) -> anyhow::Result<Option<Value>> {
        let nobody = || format!("no service answers at {}", self.target.target);
        let answer = call.send().await.with_context(nobody)?;
        let good = answer.status().is_success();
        let body: Value = answer.json().await.context("the answer makes no sense")?;
        if good {
            return Ok(Some(body));
        }
        let faults = body.pointer("/errors").and_then(Value::as_array).cloned().unwrap_or_default();
        for fault in &faults {
            eprintln!("rushpay: {}", text(fault, "/problem"));
        }
        if faults.is_empty() {
            eprintln!("rushpay: {}", text(&body, "/detail"));
        }
        Ok(None)
    }
}

/// What stands at a place of an answer, without quotes; empty if there is nothing.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}
