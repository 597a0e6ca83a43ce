import { useEffect, useState, type ReactNode } from "react";

interface CopyButtonProps {
  readonly text: () => string;
  readonly label: string;
  readonly className?: string;
  /** What is seen, when that is not the label. */
  readonly children?: ReactNode;
  readonly describedBy?: string;
}

/** Says whether it was done: browsers offer the clipboard to secure pages only. */
export function CopyButton({ text, label, className = "button small", children, describedBy }: CopyButtonProps) {
  const [copied, setCopied] = useState<boolean>();
  useEffect(() => {
    if (copied === undefined) return;
    const timer = setTimeout(() => setCopied(undefined), 2_000);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = () => {
    void write(text()).then(setCopied);
  };
  const done = copied === undefined ? undefined : copied ? "Copied" : "Not allowed here";
  return (
    <button type="button" className={className} onClick={copy} aria-label={done ?? label} title={label} aria-describedby={describedBy}>
      <span aria-live="polite">{children === undefined ? (done ?? label) : copied === undefined ? children : copied ? "✓" : "✗"}</span>
    </button>
  );
}

async function write(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyOfOld(text);
  }
}

/** The way of before the clipboard's own interface; it works on pages that are not secure. */
function copyOfOld(text: string): boolean {
  const box = document.createElement("textarea");
  box.value = text;
  box.className = "only-heard";
  // A modal dialog keeps the keyboard inside, so the box has to be there too.
  const focused = document.activeElement;
  (document.querySelector("dialog[open]") ?? document.body).append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return done;
}
