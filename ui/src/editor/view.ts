/** The filter's editor: CodeMirror set up for one CEL expression. Loaded when the page is already usable. */
import { acceptCompletion, autocompletion, closeBrackets, closeBracketsKeymap, completionStatus, moveCompletionSelection, selectedCompletionIndex } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, insertNewline } from "@codemirror/commands";
import { Annotation, EditorState, StateEffect, StateField } from "@codemirror/state";
import { Decoration, EditorView, keymap, placeholder, type DecorationSet } from "@codemirror/view";
import { completions, type Known } from "./complete";
import { language } from "./language";

export interface CelEvents {
  changed(text: string): void;
  entered(): void;
  known(): Known;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** Set on changes that come from the page, and so need not go back to it. */
const fromPage = Annotation.define<boolean>();
const problemSet = StateEffect.define<Span | undefined>();
const mark = Decoration.mark({ class: "cm-problem" });
const problemField = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, transaction) {
    for (const effect of transaction.effects) {
      if (!effect.is(problemSet)) continue;
      const { length } = transaction.newDoc;
      const start = Math.min(effect.value?.start ?? 0, Math.max(0, length - 1));
      const end = Math.min(Math.max(effect.value?.end ?? 0, start + 1), length);
      return effect.value === undefined || start >= end ? Decoration.none : Decoration.set([mark.range(start, end)]);
    }
    return marks.map(transaction.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

const theme = EditorView.theme({
  "&": { border: "1px solid var(--line-strong)", borderRadius: "8px", background: "var(--surface)", color: "var(--text)", fontSize: "0.8125rem" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "2px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5", maxHeight: "40vh", overflow: "auto" },
  ".cm-content": { minHeight: "3.6rem", padding: "0.4rem 0", caretColor: "var(--text)" },
  ".cm-line": { padding: "0 0.6rem" },
  ".cm-placeholder": { color: "var(--muted)" },
  ".cm-problem": { textDecoration: "underline wavy var(--bad)", textUnderlineOffset: "0.2em", background: "var(--bad-soft)" },
  ".cm-tooltip": { border: "1px solid var(--line-strong)", borderRadius: "6px", background: "var(--surface)", color: "var(--text)", zIndex: "5" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "0.78125rem" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { background: "var(--accent-fill)", color: "var(--on-accent)" },
  ".cm-completionDetail": { color: "inherit", opacity: "1", fontStyle: "normal", paddingInlineStart: "0.5rem" },
});

export class CelView {
  readonly #view: EditorView;

  constructor(root: ShadowRoot, text: string, events: CelEvents) {
    const ownKeys = keymap.of([
      { key: "Tab", run: acceptFirst },
      { key: "Enter", run: () => (events.entered(), true), shift: insertNewline },
      ...closeBracketsKeymap,
      ...historyKeymap,
      ...defaultKeymap,
    ]);
    this.#view = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        doc: text,
        extensions: [
          history(),
          language,
          closeBrackets(),
          // Enter watches the query, unless the viewer has gone into the list.
          autocompletion({ override: [(context) => completions(context, events.known())], selectOnOpen: false, interactionDelay: 0, icons: false }),
          ownKeys,
          EditorView.lineWrapping,
          placeholder('event.platform == "mobile"'),
          EditorView.contentAttributes.of({ "aria-label": "Filter", spellcheck: "false", autocapitalize: "off" }),
          EditorView.domEventHandlers({ beforeinput: replaceSelected }),
          problemField,
          EditorView.contentAttributes.of((view) => ({ "aria-invalid": String(view.state.field(problemField).size > 0) })),
          EditorView.updateListener.of((update) => {
            if (update.docChanged && !update.transactions.some((transaction) => transaction.annotation(fromPage))) events.changed(update.state.doc.toString());
          }),
          theme,
        ],
      }),
    });
  }

  /** Takes over what was written elsewhere. */
  setText(text: string): void {
    const { state } = this.#view;
    if (state.doc.toString() === text) return;
    this.#view.dispatch({ changes: { from: 0, to: state.doc.length, insert: text }, annotations: fromPage.of(true) });
  }

  /** Marks the place of an error, in UTF-16 code units. */
  setProblem(span: Span | undefined): void {
    this.#view.dispatch({ effects: problemSet.of(span) });
  }

  /** Takes the keyboard there. */
  select(start: number, end: number): void {
    const { length } = this.#view.state.doc;
    this.#view.focus();
    this.#view.dispatch({ selection: { anchor: Math.min(start, length), head: Math.min(end, length) }, scrollIntoView: true });
  }

  destroy(): void {
    this.#view.destroy();
  }
}

/**
 * Text written over a selection. Left to the browser, it would keep the look of what was selected by an inline style,
 * which the page's policy does not allow.
 */
function replaceSelected(event: InputEvent, view: EditorView): boolean {
  // The event's own ranges are empty in a shadow tree, and the editor learns of a new selection a moment later only.
  const { root } = view as { root: { getSelection?(): Selection | null } };
  const selection = root.getSelection?.() ?? document.getSelection();
  const { anchorNode, focusNode } = selection ?? {};
  if (event.inputType !== "insertText" || event.isComposing || event.data === null || !selection || selection.isCollapsed) return false;
  if (!anchorNode || !focusNode || !view.contentDOM.contains(anchorNode) || !view.contentDOM.contains(focusNode)) return false;
  const [anchor, head] = [view.posAtDOM(anchorNode, selection.anchorOffset), view.posAtDOM(focusNode, selection.focusOffset)];
  const from = Math.min(anchor, head);
  event.preventDefault();
  view.dispatch({
    changes: { from, to: Math.max(anchor, head), insert: event.data },
    selection: { anchor: from + event.data.length },
    userEvent: "input.type",
    scrollIntoView: true,
  });
  return true;
}

/** Tab takes what is offered first; without an offer it goes on to the next control, as everywhere. */
function acceptFirst(view: EditorView): boolean {
  if (completionStatus(view.state) !== "active") return false;
  if (selectedCompletionIndex(view.state) === null || selectedCompletionIndex(view.state) === -1) moveCompletionSelection(true)(view);
  return acceptCompletion(view);
}
