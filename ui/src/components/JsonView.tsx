import { memo, useMemo, type CSSProperties } from "react";
import { formatCount } from "../format";
import { layout, type Token } from "../json/layout";

/** Lines that are set with colours; an event with more is shown up to here, and copied whole. */
const maxLines = 3_000;
/** Characters of one value that are shown. */
const maxValue = 4_000;
const deepestIndent = 24;

/** JSON, one value per line, exactly as it came: every digit, every repeated key. Text is text, never markup. */
export const JsonView = memo(function JsonView({ text }: { readonly text: string }) {
  const json = useMemo(() => layout(text, maxLines), [text]);
  return (
    <div className="json" tabIndex={0} role="group" aria-label="Event as JSON">
      {json === undefined ? (
        <pre className="json-raw">{clip(text)}</pre>
      ) : (
        json.lines.map(({ depth, tokens }, index) => (
          <div key={index} className="json-line" style={{ "--depth": Math.min(depth, deepestIndent) } as CSSProperties}>
            {tokens.map((token, at) => (
              <Piece key={at} token={token} />
            ))}
          </div>
        ))
      )}
      {json?.cut && <p className="hint">The event goes on; Copy has all of it.</p>}
    </div>
  );
});

function Piece({ token }: { readonly token: Token }) {
  return <bdi className={`json-${token.kind}`}>{clip(token.text)}</bdi>;
}

function clip(text: string): string {
  return text.length <= maxValue ? text : `${text.slice(0, maxValue)}… (${formatCount(text.length - maxValue)} more characters)`;
}
