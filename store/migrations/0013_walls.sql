-- The second wall behind the API's filter: the API logs in as `anju_api`, which owns nothing and cannot bypass row-level security, and
-- sees what its transaction says of the reader. Nothing said is nothing seen. FORCE binds the owner too; the other services work as the
-- owner, whom the policy `whole` lets through, but not where a view of the owner's is read by the API.

DO $$
BEGIN
    CREATE ROLE anju_api LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the role anju_api is missing and this log-in may not make it: let an administrator of the server run '
            'CREATE ROLE anju_api LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT, then migrate again';
END
$$;
GRANT USAGE ON SCHEMA public, people TO anju_api;

-- What a transaction says of its reader; local to it (set_config with `true`), so that a pooled connection never carries it on.
CREATE FUNCTION anju_scope() RETURNS integer[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(string_to_array(nullif(current_setting('anju.scope', true), ''), ',')::integer[], '{}')
$$;
CREATE FUNCTION anju_sights() RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(string_to_array(nullif(current_setting('anju.sees', true), ''), ','), '{}')
$$;
CREATE FUNCTION anju_sees(sight text) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT sight = ANY (anju_sights()) $$;
CREATE FUNCTION anju_user() RETURNS integer LANGUAGE sql STABLE AS $$ SELECT nullif(current_setting('anju.user', true), '')::integer $$;
-- Before anybody is known: log-in, and a gateway with its claim code or its old certificate.
CREATE FUNCTION anju_at_door() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_setting('anju.door', true), '') = 'open'
$$;
CREATE FUNCTION anju_everywhere() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_setting('anju.everywhere', true), '') = 'yes'
$$;

-- Jurisdictions on the way from the reader's estates up to the city.
CREATE FUNCTION anju_jurisdictions() RETURNS integer[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH RECURSIVE up AS (
        SELECT jurisdiction_id AS id FROM estates WHERE id = ANY (anju_scope())
        UNION SELECT j.parent_id FROM jurisdictions j JOIN up ON up.id = j.id
    ) SELECT coalesce(array_agg(id), '{}') FROM up WHERE id IS NOT NULL
$$;
-- The estates of a reach, whoever holds it and whenever.
CREATE FUNCTION estates_under(jurisdiction integer, estate integer) RETURNS integer[] LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    WITH RECURSIVE area AS (
        SELECT jurisdiction AS id UNION SELECT j.id FROM jurisdictions j JOIN area a ON j.parent_id = a.id
    ) SELECT coalesce(array_agg(e.id), '{}') FROM estates e
    WHERE e.id = estate OR e.jurisdiction_id IN (SELECT id FROM area) OR (jurisdiction IS NULL AND estate IS NULL)
$$;
CREATE FUNCTION every_estate() RETURNS integer[] LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM estates
$$;

DO $$
DECLARE
    -- OFFSET 0 keeps each of these a look by key for each row: as a hash of everything within reach it would read a city for one home.
    here  constant text := 'estate_id = ANY ((SELECT anju_scope())::integer[])';
    home  constant text := 'EXISTS (SELECT FROM units u WHERE u.id = unit_id OFFSET 0)';
    alert constant text := 'EXISTS (SELECT FROM alerts a WHERE a.id = alert_id OFFSET 0)';
    gateway constant text := '(SELECT anju_at_door()) OR EXISTS (SELECT FROM gateways g WHERE g.id = gateway_id OFFSET 0)';
    mine  constant text := 'user_id = (SELECT anju_user())';
    theirs constant text := '(SELECT anju_at_door()) OR user_id = (SELECT anju_user()) OR EXISTS (SELECT FROM users u WHERE u.id = user_id OFFSET 0)';
    leads constant text := '(SELECT anju_sees(''leads'')) AND ';
    units constant text := '(SELECT anju_sees(''units'')) AND ';
    wall  record;
BEGIN
    FOR wall IN SELECT * FROM (VALUES
        ('estates', '(SELECT anju_at_door()) OR id = ANY ((SELECT anju_scope())::integer[])', 'SELECT'),
        ('jurisdictions', 'id = ANY ((SELECT anju_jurisdictions())::integer[])', 'SELECT'),
        ('buildings', here, 'SELECT'),
        ('entrances', here, 'SELECT'),
        ('units', here, 'SELECT'),
        ('gateways', '(SELECT anju_at_door()) OR ' || here, 'SELECT'),
        ('devices', here, 'SELECT'),
        ('gateway_state', gateway, 'SELECT'),
        ('gateway_progress', gateway, 'SELECT'),
        ('gateway_certificates', gateway, 'SELECT, INSERT, UPDATE'),
        ('gateway_claims', gateway, 'SELECT, UPDATE'),
        ('tenancies', '((SELECT anju_sees(''units'')) OR (SELECT anju_sees(''people''))) AND ' || home, 'SELECT'),
        ('residents', '((SELECT anju_sees(''welfare'')) OR (SELECT anju_sees(''people''))) AND EXISTS (SELECT FROM tenancies t WHERE t.household_id = residents.household_id OFFSET 0)', 'SELECT'),
        ('unit_days', units || home, 'SELECT'),
        ('abstentions', units || home, 'SELECT'),
        ('findings', leads || home, 'SELECT'),
        ('visits', leads || here, 'SELECT, INSERT'),
        ('visit_findings', leads || 'EXISTS (SELECT FROM visits v WHERE v.id = visit_id OFFSET 0)', 'SELECT, INSERT'),
        ('alerts', here || ' AND alert_class = ANY ((SELECT anju_sights())::text[])', 'SELECT, UPDATE'),
        ('alert_changes', alert, 'SELECT, INSERT'),
        ('alert_occurrences', alert, 'SELECT'),
        ('suppressions', 'EXISTS (SELECT FROM alerts a WHERE (a.detector, a.subject_kind, a.subject_id, a.dedup_key) = '
                         '(suppressions.detector, suppressions.subject_kind, suppressions.subject_id, suppressions.dedup_key) OFFSET 0)',
         'SELECT, INSERT, UPDATE'),
        ('windows', here, 'SELECT, INSERT, UPDATE'),
        ('welfare_watches', '(SELECT anju_sees(''welfare'')) AND ' || home, 'SELECT, INSERT, UPDATE'),
        ('commands', '(SELECT anju_sees(''commands'')) AND EXISTS (SELECT FROM devices d WHERE d.id = device_id OFFSET 0)', 'SELECT, INSERT'),
        ('deliveries', '(SELECT anju_sees(''channels'')) AND ' || alert, 'SELECT'),
        ('push_subscriptions', mine, 'SELECT, INSERT, UPDATE, DELETE'),
        ('users', '(SELECT anju_at_door()) OR id = (SELECT anju_user()) OR ((SELECT anju_sees(''users'')) '
                  'AND reach_of(id) <@ (SELECT anju_scope())::integer[] AND ((SELECT anju_everywhere()) '
                  'OR (reach_of(id) <> ''{}'' AND NOT reaches_everywhere(id))))', 'SELECT, INSERT, UPDATE'),
        ('reaches', theirs, 'SELECT, INSERT, UPDATE'),
        ('sessions', theirs, 'SELECT, INSERT, UPDATE, DELETE'),
        ('api_keys', theirs, 'SELECT, INSERT, UPDATE'),
        ('sign_ins', '(SELECT anju_at_door())', 'SELECT, INSERT, DELETE'),
        ('given_answers', mine, 'SELECT, INSERT, UPDATE, DELETE'),
        ('exports', mine, 'SELECT, INSERT, DELETE'),
        ('audit_log', '(SELECT anju_sees(''audit'')) AND ((SELECT anju_everywhere()) OR ' || here || ')', 'SELECT'),
        ('audit_checks', '(SELECT anju_sees(''audit''))', 'SELECT'),
        ('people.persons', '(SELECT anju_sees(''people'')) AND ' || here, 'SELECT, UPDATE'),
        ('people.data_keys', 'EXISTS (SELECT FROM people.persons p WHERE p.id = person_id OFFSET 0)', 'SELECT, DELETE'),
        ('people.lookups', here || ' AND ((SELECT anju_sees(''approvals'')) OR user_id = (SELECT anju_user()))', 'SELECT, INSERT, UPDATE'),
        ('people.holds', 'EXISTS (SELECT FROM people.persons p WHERE p.id = person_id OFFSET 0)', 'SELECT, INSERT, UPDATE')
    ) AS walls (name, reach, rights) LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', wall.name);
        EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', wall.name);
        EXECUTE format('CREATE POLICY whole ON %s TO CURRENT_USER USING (current_user <> ''anju_api'')', wall.name);
        EXECUTE format('CREATE POLICY reach ON %s TO anju_api USING (%s)', wall.name, wall.reach);
        EXECUTE format('GRANT %s ON %s TO anju_api', wall.rights, wall.name);
    END LOOP;
END
$$;
-- A log-in that reaches nothing yet is within nobody's reach, but may be given one; nobody hands out more than they reach themselves.
CREATE POLICY hand_out ON reaches FOR INSERT TO anju_api WITH CHECK ((SELECT anju_sees('users')));
CREATE POLICY no_more_than_mine ON reaches AS RESTRICTIVE FOR INSERT TO anju_api WITH CHECK (
    (SELECT anju_sees('users')) AND estates_under(jurisdiction_id, estate_id) <@ (SELECT anju_scope())::integer[]
    AND (num_nonnulls(jurisdiction_id, estate_id) = 1 OR (SELECT anju_everywhere())));
-- These say nothing of anybody: the planner's queue, what was erased (HMACs, written and never read here), and how channels do.
GRANT INSERT ON notice_queue, people.erasures TO anju_api;
GRANT SELECT ON channel_states, site_secrets TO anju_api;
ALTER VIEW gaps SET (security_invoker = true);
GRANT SELECT ON gaps TO anju_api;

-- Series are reached through these only; the API has no right to their tables.
CREATE FUNCTION unit_within(unit integer) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT session_user <> 'anju_api' OR (anju_sees('units')
        AND EXISTS (SELECT FROM units u WHERE u.id = unit AND u.estate_id = ANY (anju_scope())))
$$;
CREATE FUNCTION readings_of_unit(unit integer, point text, low timestamptz, high timestamptz, most integer)
RETURNS TABLE (at timestamptz, device text, value double precision) LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    SELECT r.at, d.code, r.value FROM mounts m JOIN devices d ON d.id = m.device_id
    JOIN points p ON p.device_id = d.id AND p.name = readings_of_unit.point
    JOIN readings r ON r.point_id = p.id AND r.at >= low AND r.at < high AND r.at >= m.valid_from AND (m.valid_to IS NULL OR r.at < m.valid_to)
    WHERE m.unit_id = unit AND unit_within(unit) ORDER BY r.at, d.code LIMIT most
$$;
CREATE FUNCTION latest_of_unit(unit integer)
RETURNS TABLE (device text, point text, at timestamptz, value double precision) LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    SELECT d.code, p.name, l.at, l.value FROM mounts m JOIN devices d ON d.id = m.device_id
    JOIN points p ON p.device_id = d.id JOIN latest_values l ON l.point_id = p.id
    WHERE m.unit_id = unit AND unit_within(unit) AND m.valid_from <= now() AND (m.valid_to IS NULL OR m.valid_to > now())
    ORDER BY d.code, p.name
$$;
-- When each device of a gateway was heard last; no values.
CREATE FUNCTION heard_of_gateway(gateway integer, after_code text, most integer) RETURNS TABLE (device_id integer, heard_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT d.id, (SELECT max(l.at) FROM points p JOIN latest_values l ON l.point_id = p.id WHERE p.device_id = d.id)
    FROM devices d WHERE d.gateway_id = gateway AND d.retired_on IS NULL AND (after_code IS NULL OR d.code > after_code)
    AND (session_user <> 'anju_api' OR d.estate_id = ANY (anju_scope())) ORDER BY d.code LIMIT most
$$;
-- Guards and managers who are logged in and reach one of these estates.
CREATE FUNCTION seats_at(asked integer[]) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*) FROM users u WHERE u.disabled_at IS NULL AND u.role IN ('guard', 'property_manager')
    AND EXISTS (SELECT FROM sessions s WHERE s.user_id = u.id AND s.expires_at > now())
    AND reach_of(u.id) && (SELECT array_agg(e) FROM unnest(asked) e WHERE session_user <> 'anju_api' OR e = ANY (anju_scope()))
$$;
-- Homes of each estate within the reader's reach: counted once for all, not looked at one by one.
CREATE FUNCTION homes_of(asked integer[]) RETURNS TABLE (estate_id integer, homes bigint) LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp AS $$
    SELECT u.estate_id, count(*) FROM units u WHERE u.estate_id IN
        (SELECT e FROM unnest(asked) e WHERE session_user <> 'anju_api' OR e = ANY (anju_scope())) GROUP BY u.estate_id
$$;
