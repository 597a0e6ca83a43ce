import { useEffect, useId, useRef, type ReactNode } from "react";
import type { DialogName } from "../store/state";
import { usePage, useSession } from "./session";

interface DialogProps {
  readonly name: DialogName;
  readonly title: string;
  readonly wide?: boolean;
  readonly children: ReactNode;
}

/** Over the page until it is closed; the browser keeps the keyboard inside and gives it back. */
export function Dialog({ name, title, wide = false, children }: DialogProps) {
  const session = useSession();
  const open = usePage((state) => state.dialog === name);
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();

  useEffect(() => {
    if (open && dialog.current?.open === false) dialog.current.showModal();
    if (!open) dialog.current?.close();
  }, [open]);

  return (
    <dialog
      ref={dialog}
      className={wide ? "dialog wide" : "dialog"}
      aria-labelledby={id}
      onClose={() => {
        if (session.store.state.dialog === name) session.dialog(undefined);
      }}
      onClick={(event) => {
        if (event.target === dialog.current) session.dialog(undefined);
      }}
    >
      {open && (
        <div className="dialog-body">
          <div className="dialog-head">
            <h2 id={id}>{title}</h2>
            <button type="button" className="button small" onClick={() => session.dialog(undefined)}>
              Close
            </button>
          </div>
          {children}
        </div>
      )}
    </dialog>
  );
}
