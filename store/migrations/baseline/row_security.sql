-- What the API may read and write: the wall behind its own filter. The API logs in as anju_api,
-- which owns nothing and cannot bypass row-level security. It sees what its transaction says of the
-- principal (reader.sql). FORCE binds the owner too: the other services work as the owner, whom the
-- policy owner_sees_all lets through, but not where the API reads a view of the owner's.

-- Jurisdictions on the way from the principal's estates up to the city.
CREATE FUNCTION anju_jurisdictions() RETURNS integer[]
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    WITH RECURSIVE ancestors AS (
        SELECT jurisdiction_id AS id
        FROM estates
        WHERE id = ANY (anju_scope())
        UNION
        SELECT j.parent_id
        FROM jurisdictions j
        JOIN ancestors a ON a.id = j.id
    )
    SELECT coalesce(array_agg(id), '{}')
    FROM ancestors
    WHERE id IS NOT NULL
$$;

-- The estates that a grant of this jurisdiction and estate covers, whoever has it and whenever.
CREATE FUNCTION estates_of_grant(jurisdiction integer, estate integer) RETURNS integer[]
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    WITH RECURSIVE area AS (
        SELECT jurisdiction AS id
        UNION
        SELECT j.id
        FROM jurisdictions j
        JOIN area a ON j.parent_id = a.id
    )
    SELECT coalesce(array_agg(e.id), '{}')
    FROM estates e
    WHERE e.id = estate
       OR e.jurisdiction_id IN (SELECT id FROM area)
       OR (jurisdiction IS NULL AND estate IS NULL)
$$;

CREATE FUNCTION all_estates() RETURNS integer[]
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT coalesce(array_agg(id ORDER BY id), '{}')
    FROM estates
$$;

-- Turns row-level security on for a table: the owner sees all rows, the API those that meet the
-- condition.
CREATE PROCEDURE protect_rows(table_name regclass, rights text, condition text)
LANGUAGE plpgsql
AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', table_name);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', table_name);
    EXECUTE format(
        'CREATE POLICY owner_sees_all ON %s TO CURRENT_USER USING (current_user <> ''anju_api'')',
        table_name
    );
    EXECUTE format('CREATE POLICY api_sees ON %s TO anju_api USING (%s)', table_name, condition);
    EXECUTE format('GRANT %s ON %s TO anju_api', rights, table_name);
END
$$;

-- OFFSET 0 keeps each EXISTS below a look-up by key for each row. As a hash of everything in the
-- principal's scope it would read a city for one home.

-- Places.
CALL protect_rows('estates', 'SELECT', $$
    (SELECT anju_signing_in())
    OR id = ANY ((SELECT anju_scope())::integer[])
$$);
CALL protect_rows('jurisdictions', 'SELECT', $$
    id = ANY ((SELECT anju_jurisdictions())::integer[])
$$);
CALL protect_rows('buildings', 'SELECT', $$
    estate_id = ANY ((SELECT anju_scope())::integer[])
$$);
CALL protect_rows('entrances', 'SELECT', $$
    estate_id = ANY ((SELECT anju_scope())::integer[])
$$);
CALL protect_rows('units', 'SELECT', $$
    estate_id = ANY ((SELECT anju_scope())::integer[])
$$);
CALL protect_rows('tenancies', 'SELECT', $$
    ((SELECT anju_permits('units')) OR (SELECT anju_permits('people')))
    AND EXISTS (SELECT FROM units u WHERE u.id = unit_id OFFSET 0)
$$);
CALL protect_rows('residents', 'SELECT', $$
    ((SELECT anju_permits('welfare')) OR (SELECT anju_permits('people')))
    AND EXISTS (SELECT FROM tenancies t WHERE t.household_id = residents.household_id OFFSET 0)
$$);

-- Gateways and devices.
CALL protect_rows('gateways', 'SELECT', $$
    (SELECT anju_signing_in())
    OR estate_id = ANY ((SELECT anju_scope())::integer[])
$$);
CALL protect_rows('devices', 'SELECT', $$
    estate_id = ANY ((SELECT anju_scope())::integer[])
$$);
CALL protect_rows('gateway_state', 'SELECT', $$
    (SELECT anju_signing_in())
    OR EXISTS (SELECT FROM gateways g WHERE g.id = gateway_id OFFSET 0)
$$);
CALL protect_rows('gateway_progress', 'SELECT', $$
    (SELECT anju_signing_in())
    OR EXISTS (SELECT FROM gateways g WHERE g.id = gateway_id OFFSET 0)
$$);
CALL protect_rows('gateway_certificates', 'SELECT, INSERT, UPDATE', $$
    (SELECT anju_signing_in())
    OR EXISTS (SELECT FROM gateways g WHERE g.id = gateway_id OFFSET 0)
$$);
CALL protect_rows('gateway_claims', 'SELECT, UPDATE', $$
    (SELECT anju_signing_in())
    OR EXISTS (SELECT FROM gateways g WHERE g.id = gateway_id OFFSET 0)
$$);
CALL protect_rows('commands', 'SELECT, INSERT', $$
    (SELECT anju_permits('commands'))
    AND EXISTS (SELECT FROM devices d WHERE d.id = device_id OFFSET 0)
$$);

-- Facts, findings and visits.
CALL protect_rows('unit_days', 'SELECT', $$
    (SELECT anju_permits('units'))
    AND EXISTS (SELECT FROM units u WHERE u.id = unit_id OFFSET 0)
$$);
CALL protect_rows('abstentions', 'SELECT', $$
    (SELECT anju_permits('units'))
    AND EXISTS (SELECT FROM units u WHERE u.id = unit_id OFFSET 0)
$$);
CALL protect_rows('findings', 'SELECT', $$
    (SELECT anju_permits('leads'))
    AND EXISTS (SELECT FROM units u WHERE u.id = unit_id OFFSET 0)
$$);
CALL protect_rows('visits', 'SELECT, INSERT', $$
    (SELECT anju_permits('leads'))
    AND estate_id = ANY ((SELECT anju_scope())::integer[])
$$);
CALL protect_rows('visit_findings', 'SELECT, INSERT', $$
    (SELECT anju_permits('leads'))
    AND EXISTS (SELECT FROM visits v WHERE v.id = visit_id OFFSET 0)
$$);

-- Alerts and notices.
CALL protect_rows('alerts', 'SELECT, UPDATE', $$
    estate_id = ANY ((SELECT anju_scope())::integer[])
    AND alert_class = ANY ((SELECT anju_permissions())::text[])
$$);
CALL protect_rows('alert_changes', 'SELECT, INSERT', $$
    EXISTS (SELECT FROM alerts a WHERE a.id = alert_id OFFSET 0)
$$);
CALL protect_rows('alert_occurrences', 'SELECT', $$
    EXISTS (SELECT FROM alerts a WHERE a.id = alert_id OFFSET 0)
$$);
CALL protect_rows('suppressions', 'SELECT, INSERT, UPDATE', $$
    EXISTS (
        SELECT
        FROM alerts a
        WHERE (a.detector, a.subject_kind, a.subject_id, a.dedup_key)
            = (suppressions.detector, suppressions.subject_kind,
               suppressions.subject_id, suppressions.dedup_key)
        OFFSET 0
    )
$$);
CALL protect_rows('alarm_windows', 'SELECT, INSERT, UPDATE', $$
    estate_id = ANY ((SELECT anju_scope())::integer[])
$$);
CALL protect_rows('welfare_watches', 'SELECT, INSERT, UPDATE', $$
    (SELECT anju_permits('welfare'))
    AND EXISTS (SELECT FROM units u WHERE u.id = unit_id OFFSET 0)
$$);
CALL protect_rows('notice_deliveries', 'SELECT', $$
    (SELECT anju_permits('channels'))
    AND EXISTS (SELECT FROM alerts a WHERE a.id = alert_id OFFSET 0)
$$);
CALL protect_rows('push_subscriptions', 'SELECT, INSERT, UPDATE, DELETE', $$
    user_id = (SELECT anju_user())
$$);

-- Log-ins.
CALL protect_rows('users', 'SELECT, INSERT, UPDATE', $$
    (SELECT anju_signing_in())
    OR id = (SELECT anju_user())
    OR (
        (SELECT anju_permits('users'))
        AND granted_estates(id) <@ (SELECT anju_scope())::integer[]
        AND (
            (SELECT anju_all_estates())
            OR (granted_estates(id) <> '{}' AND NOT granted_all_estates(id))
        )
    )
$$);
CALL protect_rows('grants', 'SELECT, INSERT, UPDATE', $$
    (SELECT anju_signing_in())
    OR user_id = (SELECT anju_user())
    OR EXISTS (SELECT FROM users u WHERE u.id = user_id OFFSET 0)
$$);
CALL protect_rows('sessions', 'SELECT, INSERT, UPDATE, DELETE', $$
    (SELECT anju_signing_in())
    OR user_id = (SELECT anju_user())
    OR EXISTS (SELECT FROM users u WHERE u.id = user_id OFFSET 0)
$$);
CALL protect_rows('api_keys', 'SELECT, INSERT, UPDATE', $$
    (SELECT anju_signing_in())
    OR user_id = (SELECT anju_user())
    OR EXISTS (SELECT FROM users u WHERE u.id = user_id OFFSET 0)
$$);
CALL protect_rows('sign_in_attempts', 'SELECT, INSERT, DELETE', $$
    (SELECT anju_signing_in())
$$);
CALL protect_rows('idempotency_keys', 'SELECT, INSERT, UPDATE, DELETE', $$
    user_id = (SELECT anju_user())
$$);
CALL protect_rows('exports', 'SELECT, INSERT, DELETE', $$
    user_id = (SELECT anju_user())
$$);

-- A log-in without a grant is in nobody's scope, but may be given one. Nobody grants more than they
-- are granted.
CREATE POLICY api_grants ON grants
    FOR INSERT TO anju_api
    WITH CHECK ((SELECT anju_permits('users')));
CREATE POLICY api_grants_no_more_than_own ON grants
    AS RESTRICTIVE
    FOR INSERT TO anju_api
    WITH CHECK (
        (SELECT anju_permits('users'))
        AND estates_of_grant(jurisdiction_id, estate_id) <@ (SELECT anju_scope())::integer[]
        AND (num_nonnulls(jurisdiction_id, estate_id) = 1 OR (SELECT anju_all_estates()))
    );

-- The record.
CALL protect_rows('audit_log', 'SELECT', $$
    (SELECT anju_permits('audit'))
    AND (
        (SELECT anju_all_estates())
        OR estate_id = ANY ((SELECT anju_scope())::integer[])
    )
$$);
CALL protect_rows('audit_checks', 'SELECT', $$
    (SELECT anju_permits('audit'))
$$);

-- People and faces.
CALL protect_rows('people.persons', 'SELECT, UPDATE', $$
    (SELECT anju_permits('people'))
    AND estate_id = ANY ((SELECT anju_scope())::integer[])
$$);
CALL protect_rows('people.data_keys', 'SELECT, DELETE', $$
    EXISTS (SELECT FROM people.persons p WHERE p.id = person_id OFFSET 0)
$$);
CALL protect_rows('people.lookups', 'SELECT, INSERT, UPDATE', $$
    estate_id = ANY ((SELECT anju_scope())::integer[])
    AND ((SELECT anju_permits('approvals')) OR user_id = (SELECT anju_user()))
$$);
CALL protect_rows('people.holds', 'SELECT, INSERT, UPDATE', $$
    EXISTS (SELECT FROM people.persons p WHERE p.id = person_id OFFSET 0)
$$);
CALL protect_rows('people.assessments', 'SELECT, INSERT', $$
    (SELECT anju_permits('people'))
    AND estate_id = ANY ((SELECT anju_scope())::integer[])
$$);
CALL protect_rows('people.face_consents', 'SELECT, INSERT, UPDATE', $$
    (SELECT anju_permits('people'))
    AND estate_id = ANY ((SELECT anju_scope())::integer[])
$$);
CALL protect_rows('people.face_templates', 'SELECT', $$
    EXISTS (SELECT FROM people.face_consents c WHERE c.id = consent_id OFFSET 0)
$$);
CALL protect_rows('people.face_proofs', 'SELECT', $$
    EXISTS (SELECT FROM people.face_consents c WHERE c.id = consent_id OFFSET 0)
$$);
CALL protect_rows('people.face_counts', 'SELECT', $$
    (SELECT anju_permits('people'))
    AND (SELECT anju_all_estates())
$$);
CALL protect_rows('people.face_filings', 'SELECT, UPDATE', $$
    (SELECT anju_permits('people'))
    AND (SELECT anju_all_estates())
$$);

DROP PROCEDURE protect_rows;

-- These say nothing of anybody: the queue of changes to plan, hashes of what was erased (written,
-- never read here), the state of channels, and the site's own secrets. The view gaps shows what the
-- principal may see of gateway_progress.
GRANT INSERT ON notice_queue, people.erasures TO anju_api;
GRANT SELECT ON channel_states, site_secrets, gaps TO anju_api;

-- The API has no right to the series' tables. It reads them through these functions only.

CREATE FUNCTION unit_is_visible(unit integer) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT session_user <> 'anju_api' OR (
        anju_permits('units')
        AND EXISTS (SELECT FROM units u WHERE u.id = unit AND u.estate_id = ANY (anju_scope()))
    )
$$;

CREATE FUNCTION readings_of_unit(
    unit     integer,
    point    text,
    from_at  timestamptz,
    to_at    timestamptz,
    max_rows integer
)
RETURNS TABLE (at timestamptz, device text, value double precision)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT r.at, d.code, r.value
    FROM mounts m
    JOIN devices d ON d.id = m.device_id
    JOIN points p ON p.device_id = d.id AND p.name = readings_of_unit.point
    JOIN readings r ON r.point_id = p.id
    WHERE m.unit_id = unit
      AND unit_is_visible(unit)
      AND r.at >= from_at
      AND r.at < to_at
      AND r.at >= m.valid_from
      AND (m.valid_to IS NULL OR r.at < m.valid_to)
    ORDER BY r.at, d.code
    LIMIT max_rows
$$;

CREATE FUNCTION latest_of_unit(unit integer)
RETURNS TABLE (device text, point text, at timestamptz, value double precision)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT d.code, p.name, l.at, l.value
    FROM mounts m
    JOIN devices d ON d.id = m.device_id
    JOIN points p ON p.device_id = d.id
    JOIN latest_values l ON l.point_id = p.id
    WHERE m.unit_id = unit
      AND unit_is_visible(unit)
      AND m.valid_from <= now()
      AND (m.valid_to IS NULL OR m.valid_to > now())
    ORDER BY d.code, p.name
$$;

-- When each device of a gateway last sent a value, by the device's own clock. No values.
CREATE FUNCTION gateway_device_last_received(gateway integer, after_code text, max_rows integer)
RETURNS TABLE (device_id integer, last_received_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT
        d.id,
        (
            SELECT max(l.at)
            FROM points p
            JOIN latest_values l ON l.point_id = p.id
            WHERE p.device_id = d.id
        )
    FROM devices d
    WHERE d.gateway_id = gateway
      AND d.retired_on IS NULL
      AND (after_code IS NULL OR d.code > after_code)
      AND (session_user <> 'anju_api' OR d.estate_id = ANY (anju_scope()))
    ORDER BY d.code
    LIMIT max_rows
$$;

-- Guards and property managers who are signed in and are granted one of these estates.
CREATE FUNCTION count_operators(estates integer[]) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT count(*)
    FROM users u
    WHERE u.disabled_at IS NULL
      AND u.role IN ('guard', 'property_manager')
      AND EXISTS (SELECT FROM sessions s WHERE s.user_id = u.id AND s.expires_at > now())
      AND granted_estates(u.id) && (
          SELECT array_agg(estate)
          FROM unnest(estates) estate
          WHERE session_user <> 'anju_api' OR estate = ANY (anju_scope())
      )
$$;

-- Units of each estate in the principal's scope: counted at once, not looked at one by one.
CREATE FUNCTION unit_counts(estates integer[])
RETURNS TABLE (estate_id integer, units bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT u.estate_id, count(*)
    FROM units u
    WHERE u.estate_id IN (
        SELECT estate
        FROM unnest(estates) estate
        WHERE session_user <> 'anju_api' OR estate = ANY (anju_scope())
    )
    GROUP BY u.estate_id
$$;

-- How many people's faces are stored on the whole site; NULL for whoever does not see every estate.
CREATE FUNCTION face_subjects() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT CASE WHEN session_user <> 'anju_api' OR anju_all_estates() THEN (
        SELECT count(DISTINCT c.resident_id)
        FROM people.face_consents c
        WHERE (c.kept_at = 'terminal' AND c.withdrawn_at IS NULL)
           OR EXISTS (SELECT FROM people.face_templates t WHERE t.consent_id = c.id)
    ) END
$$;
GRANT EXECUTE ON FUNCTION face_subjects() TO anju_api;

-- Where a consent's template may be: every gateway in front of a door of its entrance, when it last
-- reported the template, and since when it has reported that it has none.
CREATE FUNCTION face_gateways(consent integer)
RETURNS TABLE (gateway text, held_at timestamptz, proven_at timestamptz, command text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp
AS $$
    SELECT DISTINCT g.code, t.seen_at, p.proven_at, p.command
    FROM people.face_consents c
    JOIN entrances n ON n.id = c.entrance_id
    JOIN mounts m ON m.entrance_id = n.id OR m.building_id = n.building_id
    JOIN devices d ON d.id = m.device_id AND d.kind = 'door'
    JOIN gateways g ON g.id = d.gateway_id
    LEFT JOIN people.face_templates t ON t.consent_id = c.id AND t.gateway_id = g.id
    LEFT JOIN people.face_proofs p ON p.consent_id = c.id AND p.gateway_id = g.id
    WHERE c.id = consent
      AND (
          session_user <> 'anju_api'
          OR (anju_permits('people') AND c.estate_id = ANY (anju_scope()))
      )
    ORDER BY g.code
$$;
