import { Dialog } from "./Dialog";
import { shortcuts } from "./shortcuts";

export function Help() {
  return (
    <Dialog name="help" title="Keyboard">
      <dl className="shortcuts">
        {shortcuts.map(([key, words]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{words}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
