import { memo, useId, useState } from "react";
import { formatCount, plural, visible } from "../format";
import { compact, type Json } from "../json/parse";
import { celPath, fieldPath, type Path } from "../json/path";
import { longestValue } from "../query/refine";
import { fieldColumn } from "../query/view";
import { shownColumns } from "../store/select";
import { CopyButton } from "./CopyButton";
import { useSession } from "./session";

/** Children that are there before "Show more". */
const firstChildren = 100;
/** Characters of one value that are shown at first. */
const firstCharacters = 2_000;
const openDepth = 3;

/** JSON as a tree: every digit, every repeated key. Text is text, never markup. */
export const JsonTree = memo(function JsonTree({ json }: { readonly json: Json }) {
  return (
    <div className="json" tabIndex={0} role="group" aria-label="Event as a tree">
      {json.kind === "object" || json.kind === "array" ? <Children json={json} path={[]} /> : <Scalar json={json} path={[]} />}
    </div>
  );
});

type Container = Extract<Json, { kind: "object" | "array" }>;

function Children({ json, path }: { readonly json: Container; readonly path: Path }) {
  const [shown, setShown] = useState(firstChildren);
  const children: readonly (readonly [string | number, Json])[] =
    json.kind === "object" ? json.members.slice(0, shown).map(({ name, value }) => [name, value]) : json.items.slice(0, shown).map((value, index) => [index, value]);
  const left = sizeOf(json) - shown;
  return (
    <>
      <ul className="tree">
        {children.map(([name, value], index) => (
          // Keys may come twice, so the place is the identity.
          <li key={index}>
            <Node name={name} json={value} path={[...path, name]} />
          </li>
        ))}
      </ul>
      {left > 0 && (
        <button type="button" className="link" onClick={() => setShown(shown * 5)}>
          Show more ({formatCount(left)})
        </button>
      )}
    </>
  );
}

function Node({ name, json, path }: { readonly name: string | number; readonly json: Json; readonly path: Path }) {
  const [open, setOpen] = useState(path.length < openDepth);
  if (json.kind !== "object" && json.kind !== "array") return <Scalar name={name} json={json} path={path} />;
  const size = sizeOf(json);
  if (size === 0) return <Line name={name}>{json.kind === "object" ? "{}" : "[]"}</Line>;
  return (
    <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>
        <Name name={name} /> <span className="json-punctuation">{json.kind === "object" ? `{${plural(size, "field")}}` : `[${plural(size, "value")}]`}</span>
        <CopyButton text={() => compact(json, Number.MAX_SAFE_INTEGER)} label="Copy value" className="icon in-tree">
          copy
        </CopyButton>
      </summary>
      {open && <Children json={json} path={path} />}
    </details>
  );
}

function Scalar({ name, json, path }: { readonly name?: string | number; readonly json: Extract<Json, { text: string }>; readonly path: Path }) {
  const [whole, setWhole] = useState(false);
  const id = useId();
  const cut = !whole && json.text.length > firstCharacters;
  return (
    <Line name={name} id={id}>
      <bdi className={`json-${json.kind}`}>{visible(cut ? `${json.text.slice(0, firstCharacters)}…` : json.text)}</bdi>
      {cut && (
        <button type="button" className="link" onClick={() => setWhole(true)}>
          Show all {formatCount(json.text.length)} characters
        </button>
      )}
      {path.length > 0 && <Actions json={json.text} text={json.kind === "string" ? () => JSON.parse(json.text) as string : () => json.text} path={path} describedBy={id} />}
    </Line>
  );
}

function Line({ name, id, children }: { readonly name?: string | number | undefined; readonly id?: string; readonly children: React.ReactNode }) {
  return (
    <div className="tree-line" id={id}>
      {name !== undefined && (
        <>
          <Name name={name} />{" "}
        </>
      )}
      {children}
    </div>
  );
}

function Name({ name }: { readonly name: string | number }) {
  return <bdi className="json-key">{typeof name === "number" ? `${name}` : visible(name)}:</bdi>;
}

interface ActionsProps {
  readonly json: string;
  readonly text: () => string;
  readonly path: Path;
  readonly describedBy: string;
}

/** What can be done with one value. */
function Actions({ json, text, path, describedBy }: ActionsProps) {
  const session = useSession();
  const short = json.length <= longestValue;
  const fields = path.filter((part) => typeof part === "string");
  const addColumn = () => {
    const columns = shownColumns(session.store.state);
    const id = fieldColumn(fieldPath(fields));
    const at = columns.indexOf("event");
    if (!columns.includes(id)) session.look({ columns: at < 0 ? [...columns, id] : columns.toSpliced(at, 0, id) });
  };
  const common = { type: "button", className: "icon in-tree", "aria-describedby": describedBy } as const;
  return (
    <span className="tree-actions">
      {short && (
        <>
          <button {...common} aria-label="Filter for this" title="Filter for this" onClick={() => session.refine(path, json, false)}>
            +
          </button>
          <button {...common} aria-label="Exclude this" title="Exclude this" onClick={() => session.refine(path, json, true)}>
            −
          </button>
        </>
      )}
      <CopyButton text={text} label="Copy value" className="icon in-tree" describedBy={describedBy}>
        copy
      </CopyButton>
      <CopyButton text={() => celPath(path)} label="Copy path" className="icon in-tree" describedBy={describedBy}>
        path
      </CopyButton>
      {fields.length === path.length && (
        <button {...common} aria-label="Show as a column" title="Show as a column" onClick={addColumn}>
          column
        </button>
      )}
    </span>
  );
}

function sizeOf(json: Container): number {
  return json.kind === "object" ? json.members.length : json.items.length;
}
