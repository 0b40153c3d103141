// What API and worker share: the queue's name, and connections as BullMQ's documentation asks for them.
import { Redis } from 'ioredis';

export const QUEUE = 'orders';

/** A connection; a worker's must wait for ever (maxRetriesPerRequest: null), an API's must not. */
export function connect(forWorker) {
  return new Redis(process.env.REDIS_URL, {
    maxRetriesPerRequest: forWorker ? null : 3,
    // Commands of one turn of the event loop travel together.
    enableAutoPipelining: true,
  });
}
