-- What operators did to a sale, the newest first.
-- $1 sale  $2 at most
SELECT at, action, actor, reason FROM sale_events WHERE sale_id = $1 ORDER BY version DESC LIMIT $2
