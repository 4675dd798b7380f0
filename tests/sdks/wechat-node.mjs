// The sandbox's WeChat Pay through `wechatpay-axios-plugin`, unmodified.
import { createHash, randomUUID } from 'node:crypto';
import { Wechatpay, Aes, Rsa, Formatter } from 'wechatpay-axios-plugin';
import { check, control, credentials, ear, file, folder, ready, yesterday } from './common.mjs';

const mine = credentials('wechat');
const listener = await ear('');
const number = () => randomUUID().replaceAll('-', '').slice(0, 20);
const certificate = file(`${folder}/wechat/platform_cert.pem`);
const { X509Certificate } = await import('node:crypto');
const serial = new X509Certificate(certificate).serialNumber;
const certs = { [serial]: certificate, [mine.public_key_id]: file(mine.public_key) };
const wechat = new Wechatpay({
  baseURL: `${ready.channels.wechat.base_url}/`, mchid: mine.mchid, serial: mine.merchant_serial,
  privateKey: file(mine.merchant_key), certs,
});
const said = (promise) => promise.then((answer) => answer, (error) => error.response);

async function told(kind) {
  const { headers, body } = await listener.next();
  const known = certs[headers['wechatpay-serial']];
  const message = Formatter.response(headers['wechatpay-timestamp'], headers['wechatpay-nonce'], body);
  check(`a ${kind} notification is genuine`, known && Rsa.verify(message, headers['wechatpay-signature'], known), headers);
  const event = JSON.parse(body);
  const { nonce, ciphertext, associated_data: aad } = event.resource;
  check('and is what was waited for', event.event_type === kind, event);
  return JSON.parse(Aes.AesGcm.decrypt(ciphertext, mine.apiv3_key, nonce, aad));
}

const order = number();
const amount = { total: 1850, currency: 'CNY' };
const wanted = { appid: mine.appid, mchid: mine.mchid, description: '牛肉面', out_trade_no: order, notify_url: listener.url, amount };
const made = await wechat.v3.pay.transactions.native.post(wanted);
check('prepay', made.data.code_url.startsWith('weixin://'), made.data);
await control('/_sandbox/pay', { channel: 'wechat', credential: made.data.code_url });
const paid = await told('TRANSACTION.SUCCESS');
check('about our order', paid.out_trade_no === order, paid);
const found = await wechat.v3.pay.transactions.outTradeNo._out_trade_no_.get({ params: { mchid: mine.mchid }, out_trade_no: order });
check('query', found.data.trade_state === 'SUCCESS', found.data);
const refund = number();
const given = await wechat.v3.refund.domestic.refunds.post({
  out_trade_no: order, out_refund_no: refund, notify_url: listener.url, amount: { refund: 850, total: 1850, currency: 'CNY' },
});
check('refund', given.data.status === 'PROCESSING', given.data);
check('about our refund', (await told('REFUND.SUCCESS')).out_refund_no === refund);
const asked = await wechat.v3.refund.domestic.refunds._out_refund_no_.get({ out_refund_no: refund });
check('refund query', asked.data.status === 'SUCCESS', asked.data);
const other = number();
await wechat.v3.pay.transactions.native.post({ ...wanted, out_trade_no: other });
const closed = await wechat.v3.pay.transactions.outTradeNo._out_trade_no_.close.post({ mchid: mine.mchid }, { out_trade_no: other });
check('close', closed.status === 204, closed.status);
const nobody = await said(wechat.v3.pay.transactions.outTradeNo.nobodys_order_00.get({ params: { mchid: mine.mchid } }));
check('an unknown order is unknown', nobody.status === 404, nobody.data);
const name = Rsa.encrypt('第一食堂', file(mine.public_key));
const receiver = await wechat.v3.profitsharing.receivers.add.post(
  { appid: mine.appid, type: 'MERCHANT_ID', account: '1900000109', name, relation_type: 'STORE' },
  { headers: { 'Wechatpay-Serial': mine.public_key_id } },
);
check('a receiver with a sealed name', receiver.data.account === '1900000109', receiver.data);
await control('/_sandbox/end_day');
const bill = await wechat.v3.bill.tradebill.get({ params: { bill_date: yesterday(), bill_type: 'ALL' } });
const { pathname, search } = new URL(bill.data.download_url);
const text = await wechat.v3.billdownload.file.get({
  params: Object.fromEntries(new URLSearchParams(search)), responseType: 'arraybuffer',
  transformResponse: [(data) => data],
});
const hash = createHash('sha1').update(Buffer.from(text.data)).digest('hex');
check(`the bill at ${pathname} has its hash and our order`, hash === bill.data.hash_value && Buffer.from(text.data).includes(order), hash);
listener.close();
process.exit(0);
