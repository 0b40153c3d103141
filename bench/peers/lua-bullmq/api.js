// Takes and decides claims: rate limit, validation, the script, and a job that persists what was decided. A process
// that dies between the script and the job loses an order that was sold: a weakness of the design, not of this code.
import { readFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import Fastify from 'fastify';
import rateLimit from '@fastify/rate-limit';
import { Queue } from 'bullmq';
import pg from 'pg';
import { connect, QUEUE } from './queue.js';

const redis = connect(false);
redis.defineCommand('claim', {
  numberOfKeys: 2,
  lua: readFileSync(new URL('./claim.lua', import.meta.url), 'utf8'),
});
const queue = new Queue(QUEUE, {
  connection: connect(false),
  defaultJobOptions: {
    attempts: 10,
    backoff: { type: 'exponential', delay: 100 },
    removeOnComplete: { count: 1000 },
  },
});
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 4 });

const app = Fastify({ bodyLimit: 16384 });
await app.register(rateLimit, {
  max: 20,
  timeWindow: 1000,
  keyGenerator: (request) => request.headers['x-buyer-id'] ?? '',
  addHeadersOnExceeding: {},
  addHeaders: {},
});
app.get('/healthz', { config: { rateLimit: false } }, async () => 'ok');

// Compiled validation and serialization, as Fastify recommends.
const schema = {
  headers: {
    type: 'object',
    required: ['x-buyer-id', 'idempotency-key'],
    properties: { 'x-buyer-id': { type: 'string' }, 'idempotency-key': { type: 'string' } },
  },
  body: {
    type: 'object',
    required: ['items'],
    properties: {
      items: {
        type: 'array',
        minItems: 1,
        maxItems: 1,
        items: {
          type: 'object',
          required: ['sku', 'quantity'],
          properties: { sku: { type: 'string' }, quantity: { type: 'integer', minimum: 1 } },
        },
      },
    },
  },
  response: {
    '2xx': { type: 'object', properties: { id: { type: 'string' }, state: { type: 'string' } } },
  },
};

app.post('/v1/sales/:sale/orders', { schema }, async (request, reply) => {
  const { sale } = request.params;
  const buyer = request.headers['x-buyer-id'];
  const key = request.headers['idempotency-key'];
  const [{ sku, quantity }] = request.body.items;
  const [status, id] = await redis.claim(
    `stock:${sale}:${sku}`, `keys:${sale}`, `${buyer} ${key}`, quantity, randomUUID(),
  );
  if (status === 'sold-out') return reply.code(409).send({ state: 'sold-out' });
  // Also for one that is known: the job's id makes a second add do nothing.
  await queue.add('persist', { id, sale, buyer, key, sku, quantity }, { jobId: id });
  reply.code(status === 'new' ? 202 : 200).header('location', `/v1/orders/${id}`);
  return { id, state: 'accepted' };
});

app.get('/v1/orders/:id', async (request, reply) => {
  const { rows } = await pool.query('SELECT id, state FROM orders WHERE id = $1', [request.params.id]);
  if (rows.length > 0) return rows[0];
  const job = await queue.getJob(request.params.id);
  return job ? { id: job.id, state: 'accepted' } : reply.code(404).send({});
});

const [host, port] = process.env.LISTEN.split(':');
// Node's own queue of 511 connections is too short for a crowd.
await app.listen({ host, port: Number(port), backlog: 4096 });
