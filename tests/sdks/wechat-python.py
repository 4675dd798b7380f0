"""The sandbox's WeChat Pay through `wechatpayv3`, unmodified: with the platform's public key, and with certificates."""

import gzip
import hashlib
import json
import uuid

from common import READY, Ear, check, control, credentials, yesterday
from wechatpayv3 import WeChatPay, WeChatPayType

mine = credentials("wechat")
ear = Ear(b"")


def client(**trust):
    key = open(mine["merchant_key"]).read().split("-----")[2].replace("\n", "")
    made = WeChatPay(
        wechatpay_type=WeChatPayType.NATIVE, mchid=mine["mchid"], private_key=key,
        cert_serial_no=mine["merchant_serial"], appid=mine["appid"], apiv3_key=mine["apiv3_key"],
        notify_url=ear.url, **trust,
    )
    return made


def told(wechat, kind):
    """The next notification, opened by the client; it raises if the signature is not the platform's."""
    headers, body = ear.next()
    event = wechat.callback(headers, body)
    check(f"a {kind} notification is genuine", event and event["event_type"] == kind, event)
    return event["resource"]


def flow(wechat, title):
    print(title)
    number = uuid.uuid4().hex[:20]
    amount = {"total": 1850, "currency": "CNY"}
    for pay_type, extra in [
        (WeChatPayType.JSAPI, {"payer": {"openid": "oSANDBOX0000000000000000001"}}),
        (WeChatPayType.H5, {"scene_info": {"payer_client_ip": "10.0.0.7", "h5_info": {"type": "Wap"}}}),
        (WeChatPayType.APP, {}),
    ]:
        code, text = wechat.pay(description="牛肉面", out_trade_no=uuid.uuid4().hex[:20], amount=amount, pay_type=pay_type, **extra)
        check(f"prepay {pay_type.name}", code == 200, text)
    code, text = wechat.pay(description="牛肉面", out_trade_no=number, amount=amount)
    check("prepay NATIVE", code == 200, text)
    code_url = json.loads(text)["code_url"]
    code, text = wechat.query(out_trade_no=number)
    check("an unpaid order is found", json.loads(text)["trade_state"] == "NOTPAY", text)
    control("/_sandbox/pay", {"channel": "wechat", "credential": code_url})
    paid = told(wechat, "TRANSACTION.SUCCESS")
    check("and is about our order", (paid["out_trade_no"], paid["amount"]["total"]) == (number, 1850), paid)
    code, text = wechat.query(transaction_id=paid["transaction_id"])
    check("a paid order is found by the channel's number", json.loads(text)["trade_state"] == "SUCCESS", text)
    code, text = wechat.close(out_trade_no=number)
    check("a paid order is not closed", json.loads(text)["code"] == "ORDERPAID", text)

    refund = uuid.uuid4().hex[:20]
    code, text = wechat.refund(out_refund_no=refund, amount={"refund": 850, "total": 1850, "currency": "CNY"},
                               out_trade_no=number, reason="退餐", notify_url=ear.url)
    check("refund", code == 200, text)
    given = told(wechat, "REFUND.SUCCESS")
    check("and is about our refund", given["out_refund_no"] == refund, given)
    code, text = wechat.query_refund(refund)
    check("the refund is found", json.loads(text)["status"] == "SUCCESS", text)

    other = uuid.uuid4().hex[:20]
    wechat.pay(description="牛肉面", out_trade_no=other, amount=amount)
    code, text = wechat.close(out_trade_no=other)
    check("close", code == 204, text)
    code, text = wechat.query(out_trade_no="nobodys-order-00")
    check("an unknown order is unknown", code == 404 and json.loads(text)["code"] == "ORDER_NOT_EXIST", text)

    control("/_sandbox/end_day")
    for name, call in [
        ("trade bill", lambda **more: wechat.trade_bill(bill_date=yesterday(), **more)),
        ("fund flow bill", lambda **more: wechat.fundflow_bill(bill_date=yesterday(), **more)),
    ]:
        for packed in [False, True]:
            code, text = call(tar_type="GZIP" if packed else "")
            check(name, code == 200, text)
            said = json.loads(text)
            code, file = wechat.download_bill(said["download_url"])
            file = file if isinstance(file, bytes) else file.encode()
            check("packed as asked", file.startswith(b"\x1f\x8b") == packed, file[:9])
            file = gzip.decompress(file) if packed else file
            check(f"its file has its hash{' (gzip)' if packed else ''}",
                  hashlib.sha1(file).hexdigest() == said["hash_value"] and number.encode() in file, file[:200])


def shares(wechat):
    print("profit sharing")
    number = uuid.uuid4().hex[:20]
    code, text = wechat.pay(description="牛肉面", out_trade_no=number, amount={"total": 10000, "currency": "CNY"},
                            settle_info={"profit_sharing": True})
    control("/_sandbox/pay", {"channel": "wechat", "credential": json.loads(text)["code_url"]})
    paid = told(wechat, "TRANSACTION.SUCCESS")["transaction_id"]
    code, text = wechat.profitsharing_add_receiver(
        account_type="MERCHANT_ID", account="1900000109", relation_type="STORE", name="第一食堂")
    check("a receiver with a sealed name", code == 200, text)
    receivers = [{"type": "MERCHANT_ID", "account": "1900000109", "amount": 2000, "description": "分给档口"}]
    split = uuid.uuid4().hex
    control("/_sandbox/clock", {"offset_s": 65})
    code, text = wechat.profitsharing_order(transaction_id=paid, out_order_no=split, receivers=receivers, unfreeze_unsplit=False)
    check("split", code == 200, text)
    code, text = wechat.profitsharing_order_query(transaction_id=paid, out_order_no=split)
    check("split is found", code == 200, text)
    code, text = wechat.profitsharing_return(out_return_no=uuid.uuid4().hex, return_mchid="1900000109", amount=500,
                                             description="退餐", out_order_no=split)
    check("return", code == 200, text)
    code, text = wechat.profitsharing_amount_query(transaction_id=paid)
    check("what is left", json.loads(text)["unsplit_amount"] == 7940, text)
    code, text = wechat.profitsharing_unfreeze(transaction_id=paid, out_order_no=uuid.uuid4().hex, description="解冻")
    check("unfreeze", code == 200, text)
    control("/_sandbox/clock", {"offset_s": 0})


def against(address, **trust):
    """The client has no option for the gateway, and asks for certificates while it is made."""
    from wechatpayv3 import core

    plain = core.Core.request

    def request(self, *args, **kwargs):
        self._gate_way = address
        return plain(self, *args, **kwargs)

    core.Core.request = request
    return client(**trust)


base = READY["channels"]["wechat"]["base_url"]
by_key = against(base, public_key=open(mine["public_key"]).read(), public_key_id=mine["public_key_id"])
by_key._core._gate_way = base
flow(by_key, "with the platform's public key")
shares(by_key)
by_certificate = against(base)
by_certificate._core._gate_way = base
flow(by_certificate, "with platform certificates")
control("/_sandbox/wechat/rotate")
flow(by_certificate, "after the platform certificate was changed")
