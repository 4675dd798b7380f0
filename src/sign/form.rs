//! Fields of a form as Alipay and UnionPay sign them.

use std::collections::BTreeMap;

/// Fields in the order they came, decoded.
pub(super) fn pairs(query: &str, body: &[u8]) -> Vec<(String, String)> {
    let of = |bytes: &[u8]| url::form_urlencoded::parse(bytes).into_owned().collect::<Vec<_>>();
    let mut all = of(query.as_bytes());
    all.extend(of(body));
    all
}

/// `k=v&k=v` of what is kept.
pub(super) fn joined<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// By name, without what is named in `without` and what is empty.
pub(super) fn sorted(pairs: &[(String, String)], without: &[&str]) -> BTreeMap<String, String> {
    let kept = pairs.iter().filter(|(name, value)| !value.is_empty() && !without.contains(&name.as_str()));
    kept.cloned().collect()
}

/// Characters that must be percent-encoded in a form and stand raw in this one.
pub(super) fn raw_characters(text: &str) -> Option<String> {
    let odd: String = text
        .chars()
        .filter(|c| !c.is_ascii() || matches!(c, ' ' | '"' | '{' | '}' | '<' | '>'))
        .take(5)
        .collect();
    (!odd.is_empty()).then_some(odd)
}

/// Percent-encoded as forms are.
pub(super) fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
