// One API process and one worker process for each core, as the cluster module and BullMQ's
// "going to production" guide have it.
import cluster from 'node:cluster';

if (cluster.isPrimary) {
  const processes = Number(process.env.PROCESSES ?? 1);
  for (let i = 0; i < processes; i += 1) {
    cluster.fork({ ROLE: 'api' });
    cluster.fork({ ROLE: 'worker' });
  }
  // A process that dies would let the others look slower than they are.
  cluster.on('exit', (worker, code) => process.exit(code || 1));
} else {
  await import(process.env.ROLE === 'api' ? './api.js' : './worker.js');
}
