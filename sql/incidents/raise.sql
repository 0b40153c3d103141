-- What an operator has to know although the engine went on, once for each kind and subject.
-- $1 kind  $2 partition  $3 subject  $4 detail
INSERT INTO incidents (kind, partition, subject, detail) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
