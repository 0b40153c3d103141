// Persists what the script decided: one statement for each order, so one round trip and one commit.
import { Worker } from 'bullmq';
import pg from 'pg';
import { connect, QUEUE } from './queue.js';

// Commits of concurrent sessions share an fsync.
const CONCURRENCY = 32;

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: CONCURRENCY });

const PERSIST = {
  name: 'persist',
  text: `WITH placed AS (
           INSERT INTO orders (id, sale, buyer, idem_key) VALUES ($1, $2, $3, $4)
           ON CONFLICT DO NOTHING RETURNING id
         ), line AS (
           INSERT INTO order_lines (order_id, sku, quantity, unit_price)
           SELECT id, $5, $6, 1999 FROM placed
         )
         UPDATE stock SET sold = sold + $6 WHERE sale = $2 AND sku = $5 AND EXISTS (SELECT FROM placed)`,
};

const worker = new Worker(
  QUEUE,
  async (job) => {
    const { id, sale, buyer, key, sku, quantity } = job.data;
    await pool.query({ ...PERSIST, values: [id, sale, buyer, key, sku, quantity] });
  },
  { connection: connect(true), concurrency: CONCURRENCY },
);
worker.on('error', (error) => console.error(error));
worker.on('failed', (job, error) => console.error(job?.id, error.message));
