//! Profit sharing: receivers, splits of frozen money, returns, unfreezing, and the documented limits (section 4.6).

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::Timestamp;
use serde_json::{Value, json};

use super::{
    Wechat,
    prepay::Fields,
    refusal::Refusal,
    request,
    respond::Done,
    trade::{State, Trade},
};
use crate::{clock::beijing, fee::fee};

/// A split is carried out after this long.
const TAKES_US: i64 = 300_000;
const RATIO_PERCENT: i64 = 30;
const FIRST_AFTER_S: i64 = 60;
const WINDOW_S: i64 = 30 * 86_400;
const RETURN_WINDOW_S: i64 = 180 * 86_400;
const REQUESTS_MAX: usize = 50;
const RECEIVERS_MAX: usize = 50;
const RELATIONS: [&str; 10] = [
    "STORE",
    "STAFF",
    "STORE_OWNER",
    "PARTNER",
    "HEADQUARTER",
    "BRAND",
    "DISTRIBUTOR",
    "USER",
    "SUPPLIER",
    "CUSTOM",
];

/// One receiver's part.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    pub(crate) kind: String,
    pub(crate) account: String,
    pub(crate) amount: i64,
    pub(crate) description: String,
    pub(crate) detail_id: String,
    /// Why it was closed; empty if it was paid.
    fail_reason: String,
}

/// One request to split, or to unfreeze.
#[derive(Debug, Clone)]
pub(crate) struct Split {
    pub(crate) no: String,
    pub(crate) order_id: String,
    pub(crate) transaction_id: String,
    pub(crate) total: i64,
    shares: Vec<Share>,
    /// The request, to recognise a repeat with other content.
    asked: Value,
    at: Timestamp,
}

impl Split {
    fn shared(&self) -> i64 {
        self.shares.iter().filter(|s| s.fail_reason.is_empty()).map(|s| s.amount).sum()
    }

    fn done_at(&self) -> Timestamp {
        Timestamp::from_micros(self.at.micros() + TAKES_US)
    }

    fn view(&self, now: Timestamp) -> Value {
        let finished = now >= self.done_at();
        let receiver = |share: &Share| {
            let mut view = json!({
                "type": share.kind, "account": share.account, "amount": share.amount,
                "description": share.description, "detail_id": share.detail_id,
                "create_time": beijing(self.at), "result": "PENDING",
            });
            if let (true, Some(members)) = (finished, view.as_object_mut()) {
                let closed = !share.fail_reason.is_empty();
                members.insert("result".to_owned(), if closed { "CLOSED" } else { "SUCCESS" }.into());
                members.insert("finish_time".to_owned(), beijing(self.done_at()).into());
                if closed {
                    members.insert("fail_reason".to_owned(), share.fail_reason.clone().into());
                }
            }
            view
        };
        json!({
            "transaction_id": self.transaction_id, "out_order_no": self.no, "order_id": self.order_id,
            "state": if finished { "FINISHED" } else { "PROCESSING" },
            "receivers": self.shares.iter().map(receiver).collect::<Vec<_>>(),
        })
    }
}

/// Money that a receiver gave back.
#[derive(Debug, Clone)]
struct Return {
    no: String,
    id: String,
    split_no: String,
    order_id: String,
    mchid: String,
    amount: i64,
    description: String,
    at: Timestamp,
}

impl Return {
    fn view(&self) -> Value {
        json!({
            "order_id": self.order_id, "out_order_no": self.split_no, "out_return_no": self.no,
            "return_id": self.id, "return_mchid": self.mchid, "amount": self.amount,
            "description": self.description, "result": "SUCCESS", "create_time": beijing(self.at),
            "finish_time": beijing(self.at),
        })
    }
}

/// Receivers, splits and returns.
#[derive(Default)]
pub(crate) struct Sharing {
    receivers: BTreeMap<(String, String), Value>,
    splits: HashMap<String, Split>,
    returns: HashMap<String, Return>,
    unfrozen: HashSet<String>,
}

impl Sharing {
    fn of<'a>(&'a self, transaction_id: &'a str) -> impl Iterator<Item = &'a Split> {
        self.splits.values().filter(move |s| s.transaction_id == transaction_id)
    }

    fn shared(&self, transaction_id: &str) -> i64 {
        self.of(transaction_id).map(Split::shared).sum()
    }

    /// Every part that was paid, with its request and when it was done.
    pub(crate) fn done(&self) -> impl Iterator<Item = (Timestamp, &Split, &Share)> {
        let parts = self.splits.values().flat_map(|split| {
            split
                .shares
                .iter()
                .filter(|s| s.fail_reason.is_empty())
                .map(move |share| (split.done_at(), split, share))
        });
        let mut all: Vec<_> = parts.collect();
        all.sort_by(|a, b| (a.0, &a.2.detail_id).cmp(&(b.0, &b.2.detail_id)));
        all.into_iter()
    }
}

fn number(fields: &Fields<'_>, pointer: &str) -> Result<i64, Refusal> {
    let value = fields.at(pointer).and_then(Value::as_i64);
    value.filter(|n| *n >= 1).ok_or_else(|| Refusal::field(pointer, "缺少必填参数或低于最小值 1"))
}

fn out_no(fields: &Fields<'_>, pointer: &str) -> Result<String, Refusal> {
    let no = fields.text(pointer, 1, 64)?;
    if no.bytes().all(|c| c.is_ascii_alphanumeric() || b"_-|*@".contains(&c)) {
        Ok(no)
    } else {
        Err(Refusal::field(pointer, "只能是数字、大小写字母_-|*@"))
    }
}

fn receiver_kind(fields: &Fields<'_>, pointer: &str) -> Result<String, Refusal> {
    let kind = fields.text(pointer, 1, 32)?;
    if matches!(kind.as_str(), "MERCHANT_ID" | "PERSONAL_OPENID") {
        Ok(kind)
    } else {
        Err(Refusal::field(pointer, "只支持MERCHANT_ID、PERSONAL_OPENID"))
    }
}

/// A name must have been sealed for the key that the request names.
fn readable(
    me: &Wechat,
    serial: Option<&str>,
    fields: &Fields<'_>,
    pointer: &str,
) -> Result<Option<String>, Refusal> {
    match fields.optional(pointer, 1_024)? {
        None => Ok(None),
        Some(sealed) => me
            .keys
            .unseal(serial, &sealed)
            .map(Some)
            .ok_or_else(|| Refusal::field(pointer, "解密失败，请使用Wechatpay-Serial对应的公钥加密")),
    }
}

/// `receivers/add`; repeating changes nothing.
pub(crate) fn add_receiver(me: &Wechat, serial: Option<&str>, body: &[u8]) -> Result<Done, Refusal> {
    let asked = request::json(body)?;
    let fields = Fields(&asked);
    let appid = fields.text("/appid", 1, 32)?;
    if appid != me.keys.appid {
        return Err(Refusal::by_code("APPID_MCHID_NOT_MATCH", "appid和mchid不匹配"));
    }
    let (kind, account) = (receiver_kind(&fields, "/type")?, fields.text("/account", 1, 64)?);
    let relation = fields.text("/relation_type", 1, 32)?;
    if !RELATIONS.contains(&relation.as_str()) {
        return Err(Refusal::field("/relation_type", "取值不在允许范围内"));
    }
    let custom = fields.optional("/custom_relation", 10)?;
    if relation == "CUSTOM" && custom.is_none() {
        return Err(Refusal::field("/custom_relation", "relation_type为CUSTOM时必填"));
    }
    if readable(me, serial, &fields, "/name")?.is_none() && kind == "MERCHANT_ID" {
        return Err(Refusal::field("/name", "接收方为商户时必填"));
    }
    let mut view = json!({ "type": kind, "account": account, "relation_type": relation });
    if let (Some(custom), Some(members)) = (custom, view.as_object_mut()) {
        members.insert("custom_relation".to_owned(), custom.into());
    }
    let mut trades = me.trades.lock();
    let known = trades.sharing.receivers.entry((kind, account)).or_insert(view);
    Ok(Done::Body(known.clone()))
}

/// `receivers/delete`.
pub(crate) fn delete_receiver(me: &Wechat, body: &[u8]) -> Result<Done, Refusal> {
    let asked = request::json(body)?;
    let fields = Fields(&asked);
    fields.text("/appid", 1, 32)?;
    let (kind, account) = (receiver_kind(&fields, "/type")?, fields.text("/account", 1, 64)?);
    me.trades.lock().sharing.receivers.remove(&(kind.clone(), account.clone()));
    Ok(Done::Body(json!({ "type": kind, "account": account })))
}

/// The paid trade whose money is frozen, or what is wrong with it.
fn frozen<'a>(
    trade: Option<&'a Trade>,
    sharing: &Sharing,
    now: Timestamp,
) -> Result<(&'a Trade, String), Refusal> {
    let Some((trade, State::Paid(paid))) = trade.map(|t| (t, &t.state)) else {
        return Err(Refusal::by_code("RESOURCE_NOT_EXISTS", "订单不存在或未支付"));
    };
    let asked = trade.asked.pointer("/settle_info/profit_sharing").and_then(Value::as_bool);
    if asked != Some(true) {
        return Err(Refusal::by_code("INVALID_REQUEST", "订单未标记分账，不能分账"));
    }
    if sharing.unfrozen.contains(&paid.transaction_id) || now.secs() - paid.at.secs() > WINDOW_S {
        return Err(Refusal::by_code("RULE_LIMIT", "订单的剩余资金已解冻，不能再分账"));
    }
    if now.secs() - paid.at.secs() < FIRST_AFTER_S {
        return Err(Refusal::by_code("RULE_LIMIT", "支付成功1分钟后才能分账"));
    }
    if trade.refunded() >= trade.total {
        return Err(Refusal::by_code("INVALID_REQUEST", "订单已全额退款，不能分账"));
    }
    Ok((trade, paid.transaction_id.clone()))
}

/// What is still frozen of a trade.
fn left(trade: &Trade, shared: i64) -> i64 {
    (trade.total - fee(trade.total) - trade.refunded() - shared).max(0)
}

fn repeated(known: Option<&Split>, asked: &Value, now: Timestamp) -> Option<Result<Done, Refusal>> {
    let known = known?;
    Some(if known.asked == *asked {
        Ok(Done::Body(known.view(now)))
    } else {
        Err(Refusal::by_code("INVALID_REQUEST", "请求重入时，参数与首次请求时不一致"))
    })
}

/// `orders`: a split among receivers.
pub(crate) fn split(me: &Wechat, serial: Option<&str>, body: &[u8]) -> Result<Done, Refusal> {
    let asked = request::json(body)?;
    let fields = Fields(&asked);
    let (id, no) = (fields.text("/transaction_id", 1, 32)?, out_no(&fields, "/out_order_no")?);
    let unfreeze = fields.at("/unfreeze_unsplit").and_then(Value::as_bool);
    let unfreeze = unfreeze.ok_or_else(|| Refusal::field("/unfreeze_unsplit", "缺少必填参数或不是布尔值"))?;
    let count = fields.at("/receivers").and_then(Value::as_array).map_or(0, Vec::len);
    if !(1..=RECEIVERS_MAX).contains(&count) {
        return Err(Refusal::field("/receivers", "应为1到50个接收方"));
    }
    let mut shares: Vec<Share> = Vec::new();
    for n in 0..count {
        let at = |name: &str| format!("/receivers/{n}/{name}");
        let (kind, account) = (receiver_kind(&fields, &at("type"))?, fields.text(&at("account"), 1, 64)?);
        if kind == "PERSONAL_OPENID" {
            fields.text("/appid", 1, 32)?;
        }
        readable(me, serial, &fields, &at("name"))?;
        if shares.iter().any(|s| s.account == account && s.kind == kind) {
            return Err(Refusal::field(&at("account"), "同一接收方在一次请求中只能出现一次"));
        }
        shares.push(Share {
            kind,
            account,
            amount: number(&fields, &at("amount"))?,
            description: fields.text(&at("description"), 1, 80)?,
            detail_id: format!("360{:020}", me.world.next_serial()),
            fail_reason: String::new(),
        });
    }
    let now = me.world.clock.now();
    let whole = Value::Object(asked.clone());
    let mut trades = me.trades.lock();
    if let Some(answer) = repeated(trades.sharing.splits.get(&no), &whole, now) {
        return answer;
    }
    let order_no = trades.by_transaction(&id).unwrap_or_default();
    let (trade, id) = frozen(trades.get(&order_no), &trades.sharing, now)?;
    let shared = trades.sharing.shared(&id);
    let wanted: i64 = shares.iter().map(|s| s.amount).sum();
    if trades.sharing.of(&id).count() >= REQUESTS_MAX {
        return Err(Refusal::by_code("RULE_LIMIT", "分账次数超过上限"));
    }
    if (shared + wanted) * 100 > trade.total * RATIO_PERCENT {
        return Err(Refusal::by_code("RULE_LIMIT", "分账金额超过最大分账比例"));
    }
    if wanted > left(trade, shared) {
        return Err(Refusal::by_code("NOT_ENOUGH", "分账金额大于订单剩余待分账金额"));
    }
    let total = trade.total;
    for share in &mut shares {
        let key = (share.kind.clone(), share.account.clone());
        if !trades.sharing.receivers.contains_key(&key) {
            share.fail_reason = "NO_RELATION".to_owned();
        }
    }
    let order_id = format!("3008{:020}", me.world.next_serial());
    let split =
        Split { no: no.clone(), order_id, transaction_id: id.clone(), total, shares, asked: whole, at: now };
    let view = split.view(now);
    trades.sharing.splits.insert(no, split);
    if unfreeze {
        trades.sharing.unfrozen.insert(id);
    }
    Ok(Done::Body(view))
}

/// `orders/{out_order_no}`.
pub(crate) fn query(me: &Wechat, no: &str, transaction_id: Option<String>) -> Result<Done, Refusal> {
    let id = transaction_id.ok_or_else(|| Refusal::place("/transaction_id", "query", "缺少必填参数"))?;
    let trades = me.trades.lock();
    let split = trades.sharing.splits.get(no).filter(|s| s.transaction_id == id);
    let split = split.ok_or_else(|| Refusal::by_code("RESOURCE_NOT_EXISTS", "分账单不存在"))?;
    Ok(Done::Body(split.view(me.world.clock.now())))
}

/// `orders/unfreeze`: what was not split goes to the merchant.
pub(crate) fn unfreeze(me: &Wechat, body: &[u8]) -> Result<Done, Refusal> {
    let asked = request::json(body)?;
    let fields = Fields(&asked);
    let (id, no) = (fields.text("/transaction_id", 1, 32)?, out_no(&fields, "/out_order_no")?);
    let description = fields.text("/description", 1, 80)?;
    let now = me.world.clock.now();
    let whole = Value::Object(asked.clone());
    let mut trades = me.trades.lock();
    if let Some(answer) = repeated(trades.sharing.splits.get(&no), &whole, now) {
        return answer;
    }
    let order_no = trades.by_transaction(&id).unwrap_or_default();
    let (trade, id) = frozen(trades.get(&order_no), &trades.sharing, now)?;
    let (total, rest) = (trade.total, left(trade, trades.sharing.shared(&id)));
    let own = Share {
        kind: "MERCHANT_ID".to_owned(),
        account: me.keys.mchid.clone(),
        amount: rest,
        description,
        detail_id: format!("360{:020}", me.world.next_serial()),
        fail_reason: String::new(),
    };
    let order_id = format!("3008{:020}", me.world.next_serial());
    let split = Split {
        no: no.clone(),
        order_id,
        transaction_id: id.clone(),
        total,
        shares: vec![own],
        asked: whole,
        at: now,
    };
    let view = split.view(now);
    trades.sharing.splits.insert(no, split);
    trades.sharing.unfrozen.insert(id);
    Ok(Done::Body(view))
}

/// `transactions/{id}/amounts`.
pub(crate) fn remaining(me: &Wechat, id: &str) -> Result<Done, Refusal> {
    let trades = me.trades.lock();
    let order_no = trades.by_transaction(id).unwrap_or_default();
    let missing = || Refusal::by_code("RESOURCE_NOT_EXISTS", "订单不存在");
    let trade = trades.get(&order_no).ok_or_else(missing)?;
    let frozen = trade.asked.pointer("/settle_info/profit_sharing").and_then(Value::as_bool) == Some(true);
    let rest = if frozen && !trades.sharing.unfrozen.contains(id) {
        left(trade, trades.sharing.shared(id))
    } else {
        0
    };
    Ok(Done::Body(json!({ "transaction_id": id, "unsplit_amount": rest })))
}

/// `return-orders`: a merchant that received a part gives it back.
pub(crate) fn give_back(me: &Wechat, body: &[u8]) -> Result<Done, Refusal> {
    let asked = request::json(body)?;
    let fields = Fields(&asked);
    let no = out_no(&fields, "/out_return_no")?;
    let (by_id, by_no) = (fields.optional("/order_id", 64)?, fields.optional("/out_order_no", 64)?);
    let (mchid, amount) = (fields.text("/return_mchid", 1, 32)?, number(&fields, "/amount")?);
    let description = fields.text("/description", 1, 80)?;
    let now = me.world.clock.now();
    let mut trades = me.trades.lock();
    let sharing = &mut trades.sharing;
    let found = match (by_id, by_no) {
        (Some(id), _) => sharing.splits.values().find(|s| s.order_id == id),
        (None, Some(no)) => sharing.splits.get(&no),
        (None, None) => return Err(Refusal::field("/out_order_no", "order_id和out_order_no必填其一")),
    };
    let split = found.ok_or_else(|| Refusal::by_code("RESOURCE_NOT_EXISTS", "分账单不存在"))?.clone();
    if let Some(known) = sharing.returns.get(&no) {
        return if known.amount == amount && known.mchid == mchid && known.split_no == split.no {
            Ok(Done::Body(known.view()))
        } else {
            Err(Refusal::by_code("INVALID_REQUEST", "请求重入时，参数与首次请求时不一致"))
        };
    }
    if now.secs() - split.at.secs() > RETURN_WINDOW_S {
        return Err(Refusal::by_code("RULE_LIMIT", "分账超过180天，不能回退"));
    }
    let of_split = || sharing.returns.values().filter(|r| r.split_no == split.no);
    if of_split().count() >= REQUESTS_MAX {
        return Err(Refusal::by_code("RULE_LIMIT", "回退次数超过上限"));
    }
    let got: i64 = split
        .shares
        .iter()
        .filter(|s| {
            s.kind == "MERCHANT_ID"
                && s.account == mchid
                && mchid != me.keys.mchid
                && s.fail_reason.is_empty()
        })
        .map(|s| s.amount)
        .sum();
    let back: i64 = of_split().filter(|r| r.mchid == mchid).map(|r| r.amount).sum();
    if back + amount > got {
        return Err(Refusal::by_code("NOT_ENOUGH", "回退金额大于该接收方的可回退金额"));
    }
    let id = format!("3009{:020}", me.world.next_serial());
    let made = Return {
        no: no.clone(),
        id,
        split_no: split.no,
        order_id: split.order_id,
        mchid,
        amount,
        description,
        at: now,
    };
    let view = made.view();
    sharing.returns.insert(no, made);
    Ok(Done::Body(view))
}

/// `return-orders/{out_return_no}`.
pub(crate) fn return_query(me: &Wechat, no: &str, split_no: Option<String>) -> Result<Done, Refusal> {
    let split_no = split_no.ok_or_else(|| Refusal::place("/out_order_no", "query", "缺少必填参数"))?;
    let trades = me.trades.lock();
    let found = trades.sharing.returns.get(no).filter(|r| r.split_no == split_no);
    let found = found.ok_or_else(|| Refusal::by_code("RESOURCE_NOT_EXISTS", "回退单不存在"))?;
    Ok(Done::Body(found.view()))
}
