//! The prepay call: every field rule of section 4.1, then the rules of a repeat.

use domain::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Wechat,
    refusal::Refusal,
    request::{self, Caller},
    respond::Done,
    trade::{Product, State, Trade},
};

const DAY_S: i64 = 86_400;

pub(crate) fn prepay(me: &Wechat, caller: &Caller, product: Product, body: &[u8]) -> Result<Done, Refusal> {
    let fields = request::json(body)?;
    let now = me.world.clock.now();
    let mut trade = read(me, product, &fields, now)?;
    caller.owns(Some(trade.mchid.clone()), "body")?;
    if trade.appid != me.keys.appid {
        return Err(Refusal::by_code("APPID_MCHID_NOT_MATCH", "appid与mchid不匹配"));
    }
    let serial = me.world.next_serial();
    let (answer, credential, valid_s) = match product {
        Product::Native => {
            let url = format!("weixin://wxpay/bizpayurl/up?pr=sandbox{serial:08}&groupid=00");
            (json!({ "code_url": url }), url, 2 * 3600)
        }
        Product::Jsapi | Product::App => {
            let id = format!("wx{}sandbox{serial:012}", now.secs());
            (json!({ "prepay_id": id }), id, 2 * 3600)
        }
        Product::H5 => {
            let url = format!(
                "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx{}sandbox{serial:012}&package={serial}",
                now.secs()
            );
            (json!({ "h5_url": url }), url, 5 * 60)
        }
    };
    trade.wants_serial.clone_from(&caller.wants_serial);
    trade.credential = credential;
    trade.credential_until = Timestamp::from_micros(now.micros() + valid_s * 1_000_000);
    let mut trades = me.trades.lock();
    if let Some(known) = trades.get(&trade.no) {
        match known.state {
            State::Paid(_) => return Err(Refusal::by_code("ORDERPAID", "该订单已支付")),
            State::Closed => return Err(Refusal::by_code("ORDER_CLOSED", "该订单已关闭")),
            State::NotPay if known.product != product || known.asked != trade.asked => {
                return Err(Refusal::by_code("OUT_TRADE_NO_USED", "商户订单号重复"));
            }
            State::NotPay => trade.pay_until = known.pay_until,
        }
    }
    trades.put(trade);
    Ok(Done::Body(answer))
}

/// Reads the request, and names the first field that breaks a rule.
fn read(
    me: &Wechat,
    product: Product,
    fields: &Map<String, Value>,
    now: Timestamp,
) -> Result<Trade, Refusal> {
    const KNOWN: [&str; 15] = [
        "appid",
        "mchid",
        "description",
        "out_trade_no",
        "time_expire",
        "attach",
        "notify_url",
        "goods_tag",
        "support_fapiao",
        "limit_pay",
        "amount",
        "payer",
        "detail",
        "scene_info",
        "settle_info",
    ];
    if let Some(unknown) = fields.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(Refusal::field(&format!("/{unknown}"), "未定义的参数"));
    }
    let body = Fields(fields);
    let no = body.text("/out_trade_no", 6, 32)?;
    if !no.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-|*".contains(&c)) {
        return Err(Refusal::field("/out_trade_no", "只能是数字、大小写字母_-|*"));
    }
    let notify_url = body.text("/notify_url", 1, 255)?;
    let address = url::Url::parse(&notify_url).ok().filter(|u| matches!(u.scheme(), "http" | "https"));
    if address.is_none_or(|u| u.query().is_some()) {
        return Err(Refusal::field("/notify_url", "必须是不带参数的http或https地址"));
    }
    body.text("/description", 1, 127)?;
    let total = body.at("/amount/total").and_then(Value::as_i64);
    let total = total.ok_or_else(|| Refusal::field("/amount/total", "缺少必填参数或不是整数"))?;
    if total < 1 {
        return Err(Refusal::field("/amount/total", "值低于最小值 1"));
    }
    if body.optional("/amount/currency", 16)?.is_some_and(|c| c != "CNY") {
        return Err(Refusal::field("/amount/currency", "只支持CNY"));
    }
    let openid = match product {
        Product::Jsapi => Some(body.text("/payer/openid", 1, 128)?),
        Product::Native | Product::H5 | Product::App => body.optional("/payer/openid", 128)?,
    };
    if product == Product::H5 {
        let ip = body.text("/scene_info/payer_client_ip", 1, 45)?;
        if ip.parse::<std::net::IpAddr>().is_err() {
            return Err(Refusal::field("/scene_info/payer_client_ip", "不是合法的IP地址"));
        }
        body.text("/scene_info/h5_info/type", 1, 32)?;
    }
    for (key, max) in [("/attach", 128), ("/goods_tag", 32), ("/scene_info/device_id", 32)] {
        body.optional(key, max)?;
    }
    Ok(Trade {
        no,
        product,
        asked: Value::Object(fields.clone()),
        mchid: body.text("/mchid", 1, 32)?,
        appid: body.text("/appid", 1, 32)?,
        total,
        notify_url,
        wants_serial: None,
        attach: body.optional("/attach", 128)?,
        openid,
        device_id: body.optional("/scene_info/device_id", 32)?,
        pay_until: pay_until(body.optional("/time_expire", 64)?, product, now)?,
        state: State::NotPay,
        credential: String::new(),
        credential_until: now,
        refunds: Vec::new(),
    })
    .inspect(|_| me.world.count("wechat.prepay.good"))
}

/// The last moment to pay, raised and cut as section 8.2 says.
fn pay_until(text: Option<String>, product: Product, now: Timestamp) -> Result<Timestamp, Refusal> {
    let at = |s: i64| Timestamp::from_micros(now.micros() + s * 1_000_000);
    let Some(text) = text else { return Ok(at(7 * DAY_S)) };
    let wanted: jiff::Timestamp =
        text.parse().map_err(|_| Refusal::field("/time_expire", "不符合RFC3339格式"))?;
    let longest = if product == Product::Native { 7 * DAY_S } else { 15 * DAY_S };
    let micros = wanted.as_microsecond().clamp(at(60).micros(), at(longest).micros());
    if wanted.as_microsecond() <= now.micros() {
        return Err(Refusal::field("/time_expire", "支付结束时间不能早于当前时间"));
    }
    Ok(Timestamp::from_micros(micros))
}

/// Fields by JSON pointer.
pub(crate) struct Fields<'a>(pub(crate) &'a Map<String, Value>);

impl Fields<'_> {
    pub(crate) fn at(&self, pointer: &str) -> Option<&Value> {
        let mut parts = pointer.split('/').skip(1);
        let first = self.0.get(parts.next()?)?;
        parts.try_fold(first, |value, part| match value {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            other => other.get(part),
        })
    }

    pub(crate) fn text(&self, pointer: &str, min: usize, max: usize) -> Result<String, Refusal> {
        let text = self.optional(pointer, max)?.ok_or_else(|| Refusal::field(pointer, "缺少必填参数"))?;
        if text.chars().count() < min {
            return Err(Refusal::field(pointer, &format!("长度小于最小值 {min}")));
        }
        Ok(text)
    }

    pub(crate) fn optional(&self, pointer: &str, max: usize) -> Result<Option<String>, Refusal> {
        let Some(value) = self.at(pointer) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| Refusal::field(pointer, "类型应为字符串"))?;
        if text.chars().count() > max {
            return Err(Refusal::field(pointer, &format!("长度超过最大值 {max}")));
        }
        if text.chars().any(|c| c.len_utf8() > 3) {
            return Err(Refusal::field(pointer, "不支持四字节字符"));
        }
        Ok(Some(text.to_owned()))
    }
}
