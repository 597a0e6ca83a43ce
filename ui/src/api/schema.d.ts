// Written by `npm run api` from the handler's description of its API; do not edit.

export interface paths {
    "/api/v1/event-types": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Event types seen lately, the most frequent first. */
        get: operations["event_types"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/fields": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Fields seen in events, by path. */
        get: operations["fields"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/filters/check": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Checks a filter. */
        post: operations["check"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/filters/explain": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Shows why a filter matches an event, or does not. */
        post: operations["explain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/live": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Events that match, as they happen: server-sent events.
         * @description A match has no `event:` line, its `id:` is `<topic>/<partition>/<offset>` of the source record, its `data:` is the
         *     event. Statuses come as `event: status`, their `data:` as in a STOMP status message.
         */
        get: operations["live"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/pipeline": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The pipeline. */
        get: operations["pipeline"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/queries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Queries being matched, on all handlers. */
        get: operations["queries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description A filter to check. */
        Check: {
            /**
             * @description In CEL.
             * @example event.type == "purchase" && event.price > 100
             */
            filter: string;
        };
        /** @description A filter that is accepted. */
        Checked: {
            /** @description Equal filters have equal canonical texts. */
            canonical: string;
            /** @description What it costs to match: `selective`, `broad` or `scan`. */
            class: string;
            /** @description The query's id: 32 lowercase hex digits. */
            query: string;
            /** @description Why it is of that class. */
            reason: string;
        };
        /** @description The clause that decided the result. */
        Decided: {
            /** @description Its bytes there. */
            length: number;
            /** @description Its first byte in the filter. */
            offset: number;
            /** @description Why that decides, in words. */
            reason: string;
            /** @description In canonical form. */
            text: string;
        };
        /** @description A kind of event that was seen. */
        EventType: {
            /**
             * Format: date-time
             * @description RFC 3339, UTC.
             */
            lastSeen: string;
            /** @description Value of the event type field. */
            name: string;
            /**
             * Format: double
             * @description Events per second, over all workers.
             */
            perSecond: number;
        };
        /** @description A filter and an event to try it on. */
        Explain: {
            /** @description The event: a JSON object. */
            event: Record<string, never>;
            /** @description In CEL. */
            filter: string;
            /** @description The Kafka record it comes in. */
            record?: components["schemas"]["RecordParts"];
        };
        /** @description A part of a filter with its value. */
        Explained: {
            /** @description Operands; of a clause those whose value is not plain to see. */
            children?: components["schemas"]["Explained"][];
            /** @description Why there is no value. */
            error?: string;
            /** @description Its bytes there. */
            length: number;
            /** @description Its first byte in the filter. */
            offset: number;
            /** @description `&&`, `||`, `!`, `?:` or `clause`. */
            operator: string;
            /** @description In canonical form. */
            text: string;
            /** @description The value as CEL writes it, shortened to 120 characters; `null` if there is none. */
            value: string | null;
        };
        /** @description How a filter comes to its result. Describes what [`clickstream_engine::Explanation`] is written as. */
        Explanation: {
            /** @description The clause that decided. */
            decided: components["schemas"]["Decided"];
            /** @description `match`, `noMatch` or `error`. */
            result: string;
            /** @description The whole filter; its parts are below it. */
            tree: components["schemas"]["Explained"];
        };
        /** @description A field that was seen in events. */
        Field: {
            /** @description Values seen there, newest first. */
            examples: string[];
            /** @description Kinds of value seen there. */
            kinds: string[];
            /** @description Dotted path. */
            path: string;
        };
        /**
         * @description Why a query exists.
         * @enum {string}
         */
        Kind: "live" | "standing";
        /** @description A list. */
        List_EventType: {
            items: {
                /**
                 * Format: date-time
                 * @description RFC 3339, UTC.
                 */
                lastSeen: string;
                /** @description Value of the event type field. */
                name: string;
                /**
                 * Format: double
                 * @description Events per second, over all workers.
                 */
                perSecond: number;
            }[];
        };
        /** @description A list. */
        List_Field: {
            items: {
                /** @description Values seen there, newest first. */
                examples: string[];
                /** @description Kinds of value seen there. */
                kinds: string[];
                /** @description Dotted path. */
                path: string;
            }[];
        };
        /** @description A list. */
        List_Listed: {
            items: {
                /** @description Canonical filter. */
                filter: string;
                /** @description 32 lowercase hex digits. */
                id: string;
                kind: components["schemas"]["Kind"];
                /** @description Of a standing query. */
                name?: string | null;
                /** @description Of a standing query. */
                namespace?: string | null;
                /**
                 * Format: int32
                 * @description Subscriptions, on all handlers.
                 */
                subscribers: number;
            }[];
        };
        /** @description A query that is being matched. */
        Listed: {
            /** @description Canonical filter. */
            filter: string;
            /** @description 32 lowercase hex digits. */
            id: string;
            kind: components["schemas"]["Kind"];
            /** @description Of a standing query. */
            name?: string | null;
            /** @description Of a standing query. */
            namespace?: string | null;
            /**
             * Format: int32
             * @description Subscriptions, on all handlers.
             */
            subscribers: number;
        };
        /** @description The pipeline that this handler serves. */
        Pipeline: {
            /**
             * Format: int32
             * @description Matches per second of a viewer who asks for no rate.
             */
            defaultRate: number;
            /** @description Dotted path to an event's type. */
            eventTypeField: string;
            /** @description Topic of its matches. */
            filteredTopic: string;
            /**
             * Format: int32
             * @description Partitions of that topic; 0 while unknown.
             */
            lanes: number;
            /** @description Its name. */
            pipeline: string;
            /** @description Topics that hold its events. */
            sourceTopics: string[];
            /**
             * Format: int64
             * @description Longest time to live of a subscription.
             */
            subscriptionTtlSeconds: number;
            /** @description Dotted path to whose event it is. */
            userField: string;
            /** @description This program's version. */
            version: string;
        };
        /**
         * @description A problem object (RFC 9457). The members after `detail` are set when a filter is at fault:
         *     offsets count bytes from the start of its text.
         */
        Problem: {
            /** @description The filter's line and, under it, marks at the fault. */
            caret?: string | null;
            /** @description What is wrong, and what to do instead. */
            detail: string;
            /** @description Bytes at fault. */
            length?: number | null;
            /** @description First byte at fault. */
            offset?: number | null;
            /**
             * Format: int32
             * @description The HTTP status that goes with it.
             */
            status: number;
            /** @description What to write instead. */
            suggestion?: string | null;
            /** @description The kind in words. */
            title: string;
            /** @description A URI that names the kind of problem. */
            type: string;
        };
        /** @description What a filter can see of a record beside the event. What is left out is empty or 0. */
        RecordParts: {
            /** @default {} */
            headers: {
                [key: string]: string;
            };
            /** @default null */
            key: string | null;
            /**
             * Format: int64
             * @default 0
             */
            offset: number;
            /**
             * Format: int32
             * @default 0
             */
            partition: number;
            /**
             * Format: date-time
             * @description RFC 3339.
             * @default null
             */
            timestamp: string | null;
            /** @default  */
            topic: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    event_types: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["List_EventType"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    fields: {
        parameters: {
            query?: {
                /** @description Only paths that begin so. */
                prefix?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["List_Field"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    check: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Check"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Checked"];
                };
            };
            /** @description The filter is refused, with the position of what is wrong */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    explain: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Explain"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Explanation"];
                };
            };
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    live: {
        parameters: {
            query?: {
                /** @description A filter in CEL; none means all events */
                filter?: string;
                /** @description Event types, comma separated */
                "event-types"?: string;
                /** @description Paths to show of each event, comma separated */
                fields?: string;
                /** @description Most matches per second; default 100, 0 means no limit */
                rate?: number;
                /** @description Time to live in seconds */
                ttl?: number;
                /** @description A standing query, `<namespace>/<name>`, instead of a filter */
                query?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description Another parameter */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A value is refused */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    pipeline: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Pipeline"];
                };
            };
        };
    };
    queries: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["List_Listed"];
                };
            };
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
}
