// Decides claims: one transaction each, in which the item's row is locked before its stock is read.
import { randomUUID } from 'node:crypto';
import { Worker } from 'bullmq';
import pg from 'pg';
import { connect, QUEUE } from './queue.js';

// More would only wait for the same row.
const CONCURRENCY = 16;

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: CONCURRENCY });

async function decide({ sale, buyer, key, items }) {
  const [{ sku, quantity }] = items;
  const db = await pool.connect();
  try {
    await db.query('BEGIN');
    const { rows } = await db.query({
      name: 'lock',
      text: 'SELECT allotted - sold AS left FROM stock WHERE sale = $1 AND sku = $2 FOR UPDATE',
      values: [sale, sku],
    });
    if (rows.length === 0 || Number(rows[0].left) < quantity) {
      await db.query('ROLLBACK');
      return 'sold-out';
    }
    const id = randomUUID();
    const inserted = await db.query({
      name: 'order',
      text: `INSERT INTO orders (id, sale, buyer, idem_key) VALUES ($1, $2, $3, $4)
             ON CONFLICT (buyer, sale, idem_key) DO NOTHING`,
      values: [id, sale, buyer, key],
    });
    if (inserted.rowCount === 0) {
      await db.query('ROLLBACK');
      return 'duplicate';
    }
    await db.query({
      name: 'line',
      text: 'INSERT INTO order_lines (order_id, sku, quantity, unit_price) VALUES ($1, $2, $3, 1999)',
      values: [id, sku, quantity],
    });
    await db.query({
      name: 'sold',
      text: 'UPDATE stock SET sold = sold + $3 WHERE sale = $1 AND sku = $2',
      values: [sale, sku, quantity],
    });
    await db.query('COMMIT');
    return id;
  } catch (error) {
    await db.query('ROLLBACK').catch(() => {});
    throw error;
  } finally {
    db.release();
  }
}

const worker = new Worker(QUEUE, (job) => decide(job.data), {
  connection: connect(true),
  concurrency: CONCURRENCY,
});
worker.on('error', (error) => console.error(error));
worker.on('failed', (job, error) => console.error(job?.id, error.message));
