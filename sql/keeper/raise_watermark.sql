-- Raises the watermark from where this keeper left it: never over a gap that it does not know of, in a Postgres that
-- came back older or is another one.
-- $1 partition  $2 epoch  $3 $4 $5 from (ms, seq, mark)  $6 $7 $8 to
UPDATE partitions SET watermark_ms = $6, watermark_seq = $7, watermark_mark = $8
WHERE partition = $1 AND epoch = $2 AND postgres = postgres_identity()
  AND watermark_ms = $3 AND watermark_seq = $4 AND watermark_mark = $5
