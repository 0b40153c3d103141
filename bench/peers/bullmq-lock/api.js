// Takes claims: rate limit, validation, and a job whose id is the buyer and his key, so that a retry adds no second
// one. The outcome is the worker's; a client learns it by asking for the order.
import express from 'express';
import { rateLimit } from 'express-rate-limit';
import { Queue } from 'bullmq';
import pg from 'pg';
import { connect, QUEUE } from './queue.js';

const queue = new Queue(QUEUE, {
  connection: connect(false),
  defaultJobOptions: {
    attempts: 3,
    backoff: { type: 'exponential', delay: 100 },
    removeOnComplete: { count: 1000 },
    removeOnFail: { count: 1000 },
  },
});
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 4 });

const app = express();
app.disable('x-powered-by');
app.disable('etag');
app.get('/healthz', (request, response) => response.sendStatus(200));

// In this process's memory: the cheapest store that the package has.
const limit = rateLimit({
  windowMs: 1000,
  limit: 20,
  standardHeaders: false,
  legacyHeaders: false,
  keyGenerator: (request) => request.get('x-buyer-id') ?? '',
});

function itemsOf(body) {
  const items = body?.items;
  const valid = Array.isArray(items) && items.length === 1 && typeof items[0].sku === 'string'
    && Number.isInteger(items[0].quantity) && items[0].quantity > 0;
  return valid ? items : undefined;
}

app.post('/v1/sales/:sale/orders', limit, express.json({ limit: '16kb' }), async (request, response) => {
  const buyer = request.get('x-buyer-id');
  const key = request.get('idempotency-key');
  const items = itemsOf(request.body);
  if (!buyer || !key || !items) return response.sendStatus(400);
  const { sale } = request.params;
  // A custom id may hold no colon.
  const job = await queue.add('order', { sale, buyer, key, items }, { jobId: `${sale}-${buyer}-${key}` });
  return response.status(202).location(`/v1/orders/${job.id}`).json({ id: job.id, state: 'queued' });
});

app.get('/v1/orders/:id', async (request, response) => {
  const job = await queue.getJob(request.params.id);
  if (job) return response.json({ id: job.id, state: await job.getState() });
  const { rows } = await pool.query(
    "SELECT id, state FROM orders WHERE buyer = $1 AND sale || '-' || buyer || '-' || idem_key = $2",
    [request.get('x-buyer-id'), request.params.id],
  );
  return rows.length > 0 ? response.json(rows[0]) : response.sendStatus(404);
});

const [host, port] = process.env.LISTEN.split(':');
// Node's own queue of 511 connections is too short for a crowd.
app.listen(Number(port), host, 4096);
