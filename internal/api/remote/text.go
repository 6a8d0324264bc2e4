package remote

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// language is one that the pages speak.
type language int

// The languages. English is spoken to whoever asks for none of them.
const (
	english language = iota
	german
	portuguese
	languages
)

// tags are the languages as browsers and pages name them.
var tags = [languages]string{"en", "de", "pt"}

// languageOf picks the language that a browser likes best (RFC 9110 section 12.5.4).
func languageOf(r *http.Request) language {
	best, most := english, 0.0
	for _, wish := range strings.Split(r.Header.Get("Accept-Language"), ",") {
		tag, weight, _ := strings.Cut(strings.TrimSpace(wish), ";")
		primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		at := slices.Index(tags[:], primary)
		q := 1.0
		if given, ok := strings.CutPrefix(strings.TrimSpace(weight), "q="); ok {
			q, _ = strconv.ParseFloat(given, 64) // 0, not wanted, where it is no number
		}
		if at >= 0 && q > most {
			best, most = language(at), q
		}
	}
	return best
}

// say is a text in the language. One that is missing shows by its name: a test reads that none is.
func (l language) say(name string) string {
	if all, ok := texts[name]; ok {
		return all[l]
	}
	return name
}

// script are the texts that the scripts of pages show, by the names that they know.
func (l language) script() map[string]string {
	all := map[string]string{}
	for name, text := range texts {
		if short, ok := strings.CutPrefix(name, "js."); ok {
			all[short] = text[l]
		}
	}
	return all
}

// texts are all that people read, by name: English, German, Portuguese.
var texts = map[string][languages]string{
	"reference": {"Reference", "Referenz", "Referência"},
	"time":      {"Time", "Zeit", "Hora"},

	"late": {"This link has expired", "Dieser Link ist abgelaufen", "Este link expirou"},
	"late.do": {
		"Links work for 30 seconds. Go back to the tool that sent you here and start the session again.",
		"Links gelten 30 Sekunden. Gehen Sie zurück zu dem Programm, das Sie hierher geschickt hat, und starten Sie die Sitzung neu.",
		"Os links valem por 30 segundos. Volte à ferramenta que o enviou para cá e inicie a sessão novamente.",
	},
	"used": {"This link was already used", "Dieser Link wurde bereits benutzt", "Este link já foi usado"},
	"used.do": {
		"Each link works once. Start again from your tool.",
		"Jeder Link gilt einmal. Beginnen Sie in Ihrem Programm von vorn.",
		"Cada link funciona uma única vez. Comece novamente na sua ferramenta.",
	},
	"used.back": {"Go back to your session", "Zurück zu Ihrer Sitzung", "Voltar à sua sessão"},
	"cancelled": {"This link was cancelled", "Dieser Link wurde zurückgezogen", "Este link foi cancelado"},
	"cancelled.do": {
		"Ask your administrator.", "Fragen Sie Ihre Administration.", "Fale com o seu administrador.",
	},
	"unknown": {"This link is not valid", "Dieser Link ist nicht gültig", "Este link não é válido"},
	"unknown.do": {
		"Copy the whole link, or start again from your tool.",
		"Kopieren Sie den ganzen Link, oder beginnen Sie in Ihrem Programm von vorn.",
		"Copie o link inteiro ou comece novamente na sua ferramenta.",
	},
	"elsewhere": {"This link is for another computer or network", "Dieser Link gilt für einen anderen Rechner oder ein anderes Netz", "Este link é para outro computador ou outra rede"},
	"elsewhere.do": {
		"Open it on the computer from which you asked for it, without switching a VPN on or off in between. Then ask for a new one.",
		"Öffnen Sie ihn auf dem Rechner, von dem aus Sie ihn angefordert haben, ohne zwischendurch ein VPN ein- oder auszuschalten. Fordern Sie dann einen neuen an.",
		"Abra-o no computador de onde o pediu, sem ligar ou desligar uma VPN nesse meio-tempo. Depois, peça um novo.",
	},
	"denied": {"You cannot start this session now", "Sie können diese Sitzung jetzt nicht starten", "Você não pode iniciar esta sessão agora"},
	"denied.do": {
		"Ask your administrator, and give the reference below.",
		"Fragen Sie Ihre Administration, und nennen Sie die Referenz unten.",
		"Fale com o seu administrador e informe a referência abaixo.",
	},
	"many": {"Too many requests", "Zu viele Anfragen", "Solicitações demais"},
	"many.do": {
		"Wait a minute, then start again from your tool.",
		"Warten Sie eine Minute, und beginnen Sie dann in Ihrem Programm von vorn.",
		"Espere um minuto e comece novamente na sua ferramenta.",
	},
	"plain": {"This needs an https address", "Das braucht eine https-Adresse", "Isto precisa de um endereço https"},
	"plain.do": {
		"A session needs a cookie, and a cookie that travels unencrypted is anybody's. Ask the operator to give this server an https address.",
		"Eine Sitzung braucht ein Cookie, und ein Cookie, das unverschlüsselt reist, gehört jedem. Bitten Sie den Betrieb, diesem Server eine https-Adresse zu geben.",
		"Uma sessão precisa de um cookie, e um cookie que viaja sem criptografia é de qualquer um. Peça ao operador que dê a este servidor um endereço https.",
	},
	"method": {"Not here", "Nicht hier", "Aqui não"},
	"method.do": {
		"This address does not take that kind of request.", "Diese Adresse nimmt solche Anfragen nicht an.", "Este endereço não aceita esse tipo de solicitação.",
	},
	"wrong": {"Something went wrong here", "Hier ist etwas schiefgegangen", "Algo deu errado aqui"},
	"wrong.do": {
		"Try again. The operator finds the reason in the log, under the reference below.",
		"Versuchen Sie es noch einmal. Der Betrieb findet den Grund im Protokoll, unter der Referenz unten.",
		"Tente novamente. O operador encontra o motivo no registro, sob a referência abaixo.",
	},
	"nothing": {"There is nothing here", "Hier ist nichts", "Não há nada aqui"},
	"nothing.do": {
		"Either there never was, or it is not for this browser. Start again from your tool.",
		"Entweder gab es hier nie etwas, oder es ist nicht für diesen Browser. Beginnen Sie in Ihrem Programm von vorn.",
		"Ou nunca houve, ou não é para este navegador. Comece novamente na sua ferramenta.",
	},
	"foreign": {"This did not come from a page of this server", "Das kam nicht von einer Seite dieses Servers", "Isto não veio de uma página deste servidor"},
	"foreign.do": {
		"Open the page again and try once more.", "Öffnen Sie die Seite neu, und versuchen Sie es noch einmal.", "Abra a página de novo e tente outra vez.",
	},
	"nofactor": {"A second factor is required here", "Hier ist ein zweiter Faktor nötig", "Aqui é necessário um segundo fator"},
	"nofactor.do": {
		"You have none yet. Sign in to Gatehouse, set up an authenticator app under “Second factor”, then start the session again from your tool.",
		"Sie haben noch keinen. Melden Sie sich bei Gatehouse an, richten Sie unter „Second factor“ eine Authenticator-App ein, und starten Sie die Sitzung dann in Ihrem Programm neu.",
		"Você ainda não tem nenhum. Entre no Gatehouse, configure um aplicativo autenticador em “Second factor” e inicie a sessão novamente na sua ferramenta.",
	},
	"nofactor.link": {"Set up a second factor", "Zweiten Faktor einrichten", "Configurar um segundo fator"},

	"step_up":       {"Confirm that it is you", "Bestätigen Sie, dass Sie es sind", "Confirme que é você"},
	"step_up.do":    {"This session asks for your second factor.", "Diese Sitzung verlangt Ihren zweiten Faktor.", "Esta sessão pede o seu segundo fator."},
	"step_up.code":  {"Code of your authenticator app, or a recovery code", "Code Ihrer Authenticator-App, oder ein Wiederherstellungscode", "Código do aplicativo autenticador ou código de recuperação"},
	"step_up.wrong": {"That code is not right, or was used already.", "Dieser Code ist falsch oder wurde schon benutzt.", "Esse código não está certo ou já foi usado."},
	"step_up.many":  {"Too many wrong codes. Wait a while, then try again.", "Zu viele falsche Codes. Warten Sie eine Weile, und versuchen Sie es dann wieder.", "Códigos errados demais. Espere um pouco e tente novamente."},
	"reason":        {"Why do you need this session?", "Wozu brauchen Sie diese Sitzung?", "Para que você precisa desta sessão?"},
	"reason.do":     {"Your answer is kept with the recording.", "Ihre Antwort wird mit der Aufzeichnung aufbewahrt.", "A sua resposta é guardada com a gravação."},
	"reason.text":   {"Reason", "Grund", "Motivo"},
	"reason.ticket": {"Ticket or change number, if there is one", "Ticket- oder Änderungsnummer, falls vorhanden", "Número do chamado ou da mudança, se houver"},
	"reason.wrong":  {"Say in a few words what you are going to do.", "Sagen Sie in wenigen Worten, was Sie vorhaben.", "Diga em poucas palavras o que vai fazer."},
	"approval":      {"Waiting for approval", "Warten auf Freigabe", "Aguardando aprovação"},
	"approval.do": {
		"Somebody else must agree before this session begins. This page goes on by itself; leave it open.",
		"Jemand anderes muss zustimmen, bevor diese Sitzung beginnt. Diese Seite geht von selbst weiter; lassen Sie sie offen.",
		"Outra pessoa precisa concordar antes que esta sessão comece. Esta página continua sozinha; deixe-a aberta.",
	},
	"approval.number": {"Request", "Anfrage", "Pedido"},
	"approval.until":  {"Waits until", "Wartet bis", "Aguarda até"},
	"approval.asked":  {"Your reason", "Ihr Grund", "Seu motivo"},
	"go":              {"Continue", "Weiter", "Continuar"},

	"ended":             {"The session has ended", "Die Sitzung ist beendet", "A sessão terminou"},
	"ended.again":       {"To go on, start a new session from your tool.", "Um weiterzuarbeiten, starten Sie in Ihrem Programm eine neue Sitzung.", "Para continuar, inicie uma nova sessão na sua ferramenta."},
	"ended.note":        {"Answer", "Antwort", "Resposta"},
	"ended.from":        {"Started", "Begonnen", "Início"},
	"ended.to":          {"Ended", "Beendet", "Fim"},
	"ended.closed":      {"You or the target closed it, or this page was away for too long.", "Sie oder das Ziel haben sie geschlossen, oder diese Seite war zu lange fort.", "Você ou o destino a fecharam, ou esta página ficou ausente por tempo demais."},
	"ended.idle":        {"Nobody typed for too long.", "Zu lange hat niemand etwas eingegeben.", "Ninguém digitou nada por tempo demais."},
	"ended.dropped":     {"Somebody with the right to do so ended it.", "Jemand mit dem Recht dazu hat sie beendet.", "Alguém com direito a isso a encerrou."},
	"ended.window":      {"The time for which you were given access is over.", "Die Zeit, für die Sie Zugang hatten, ist vorbei.", "O período em que você tinha acesso acabou."},
	"ended.absolute":    {"It lasted as long as sessions may.", "Sie hat so lange gedauert, wie Sitzungen dürfen.", "Ela durou o máximo permitido."},
	"ended.address":     {"A request for it came from another address than yours.", "Eine Anfrage zu ihr kam von einer anderen Adresse als Ihrer.", "Uma solicitação dela veio de outro endereço que não o seu."},
	"ended.revoked":     {"Your access was withdrawn.", "Ihr Zugang wurde entzogen.", "O seu acesso foi retirado."},
	"ended.error":       {"The target could not be reached, or did not let us in.", "Das Ziel war nicht erreichbar oder ließ uns nicht ein.", "O destino não pôde ser alcançado ou não nos deixou entrar."},
	"ended.unrecorded":  {"It could not be recorded, and nothing is carried unrecorded.", "Sie konnte nicht aufgezeichnet werden, und nichts läuft unaufgezeichnet.", "Ela não pôde ser gravada, e nada passa sem gravação."},
	"ended.node_lost":   {"The server that carried it is gone.", "Der Server, der sie trug, ist ausgefallen.", "O servidor que a conduzia caiu."},
	"ended.refused":     {"The request was denied, or nobody answered it in time.", "Die Anfrage wurde abgelehnt, oder niemand hat sie rechtzeitig beantwortet.", "O pedido foi negado ou ninguém respondeu a tempo."},
	"ended.abandoned":   {"What it waited for did not happen in time.", "Worauf sie wartete, geschah nicht rechtzeitig.", "O que ela aguardava não aconteceu a tempo."},
	"ended.drained":     {"The server is being stopped.", "Der Server wird angehalten.", "O servidor está sendo parado."},
	"ended.unreachable": {"The target cannot be reached.", "Das Ziel ist nicht erreichbar.", "O destino não pode ser alcançado."},
	"ended.login":       {"The target refused the stored credential. Ask your administrator to renew it.", "Das Ziel hat die hinterlegten Zugangsdaten abgelehnt. Bitten Sie Ihre Administration, sie zu erneuern.", "O destino recusou a credencial armazenada. Peça ao administrador que a renove."},
	"ended.hostkey": {
		"The target showed a host key that no administrator has accepted. Somebody may be between; ask your administrator.",
		"Das Ziel zeigte einen Hostschlüssel, den keine Administration anerkannt hat. Es kann jemand dazwischen sein; fragen Sie Ihre Administration.",
		"O destino mostrou uma chave de host que nenhum administrador aceitou. Pode haver alguém no meio; fale com o seu administrador.",
	},
	"ended.elsewhere": {
		"Another server carries this session. Load the page again; if that keeps failing, tell the operator that the terminal's requests must reach one node.",
		"Ein anderer Server trägt diese Sitzung. Laden Sie die Seite neu; hilft das nicht, sagen Sie dem Betrieb, dass die Anfragen des Terminals einen Knoten erreichen müssen.",
		"Outro servidor conduz esta sessão. Recarregue a página; se continuar falhando, diga ao operador que as solicitações do terminal precisam chegar a um só nó.",
	},

	"terminal":       {"Terminal", "Terminal", "Terminal"},
	"recorded":       {"You are being recorded", "Sie werden aufgezeichnet", "Você está sendo gravado"},
	"files":          {"Files", "Dateien", "Arquivos"},
	"disconnect":     {"Disconnect", "Trennen", "Desconectar"},
	"reader":         {"Screen reader", "Vorlesen", "Leitor de tela"},
	"files.folder":   {"Folder", "Ordner", "Pasta"},
	"files.open":     {"Open", "Öffnen", "Abrir"},
	"files.close":    {"Close", "Schließen", "Fechar"},
	"files.upload":   {"Upload files", "Dateien hochladen", "Enviar arquivos"},
	"files.drop":     {"or drop them here", "oder hier ablegen", "ou solte-os aqui"},
	"files.transfer": {"Transfers", "Übertragungen", "Transferências"},
	"watch":          {"You are looking on", "Sie sehen zu", "Você está observando"},
	"watch.who":      {"Looking on", "Es sehen zu", "Observando"},
	"watch.only":     {"Nothing that you type is sent.", "Nichts, was Sie tippen, wird gesendet.", "Nada do que você digita é enviado."},
	"play":           {"Recording", "Aufzeichnung", "Gravação"},
	"play.track":     {"Track", "Spur", "Faixa"},
	"play.none":      {"There is nothing to play in this recording.", "In dieser Aufzeichnung gibt es nichts abzuspielen.", "Não há nada para reproduzir nesta gravação."},
	"play.erased":    {"What was recorded is past its retention and was erased.", "Die Aufbewahrungsfrist ist vorbei; das Aufgezeichnete wurde gelöscht.", "O prazo de guarda acabou; o que foi gravado foi apagado."},
	"play.cut":       {"This recording ends before its session did", "Diese Aufzeichnung endet vor ihrer Sitzung", "Esta gravação termina antes da sessão"},
	"user":           {"Person", "Person", "Pessoa"},
	"target":         {"Target", "Ziel", "Destino"},
	"noscript":       {"This page needs JavaScript, which is off in this browser.", "Diese Seite braucht JavaScript, das in diesem Browser aus ist.", "Esta página precisa de JavaScript, que está desligado neste navegador."},

	"js.connecting":       {"Connecting…", "Verbinde…", "Conectando…"},
	"js.connected":        {"Connected", "Verbunden", "Conectado"},
	"js.lost":             {"Reconnecting…", "Verbinde neu…", "Reconectando…"},
	"js.over":             {"Ended", "Beendet", "Encerrada"},
	"js.wrong":            {"That did not work.", "Das hat nicht geklappt.", "Não deu certo."},
	"js.ended":            {"The session has ended", "Die Sitzung ist beendet", "A sessão terminou"},
	"js.ended_again":      {"To go on, start a new session from your tool.", "Um weiterzuarbeiten, starten Sie in Ihrem Programm eine neue Sitzung.", "Para continuar, inicie uma nova sessão na sua ferramenta."},
	"js.ended_lost":       {"The connection was away for too long, so the session was closed.", "Die Verbindung war zu lange weg, darum wurde die Sitzung geschlossen.", "A conexão ficou ausente por tempo demais, e a sessão foi fechada."},
	"js.ended_gone":       {"This browser has no access to the session any more.", "Dieser Browser hat keinen Zugang mehr zu der Sitzung.", "Este navegador não tem mais acesso à sessão."},
	"js.replaced":         {"This session continues in another window", "Diese Sitzung läuft in einem anderen Fenster weiter", "Esta sessão continua em outra janela"},
	"js.replaced_do":      {"Only one window shows it at a time.", "Nur ein Fenster zeigt sie zur selben Zeit.", "Só uma janela a mostra por vez."},
	"js.retake":           {"Continue here", "Hier weitermachen", "Continuar aqui"},
	"js.ends_at":          {"This session ends at {0}, in {1} min. Save your work.", "Diese Sitzung endet um {0}, in {1} Min. Sichern Sie Ihre Arbeit.", "Esta sessão termina às {0}, em {1} min. Salve o seu trabalho."},
	"js.idle_at":          {"Nobody has typed for a while. This session ends at {0}, in {1} min, unless you do.", "Es hat länger niemand getippt. Diese Sitzung endet um {0}, in {1} Min., wenn es so bleibt.", "Ninguém digita há algum tempo. Esta sessão termina às {0}, em {1} min, se continuar assim."},
	"js.unrecorded":       {"Not recorded: the recorder failed", "Nicht aufgezeichnet: Aufzeichnung gestört", "Sem gravação: o gravador falhou"},
	"js.dismiss":          {"Dismiss", "Ausblenden", "Dispensar"},
	"js.no_clipboard":     {"Copy and paste are switched off for this session.", "Kopieren und Einfügen sind für diese Sitzung abgeschaltet.", "Copiar e colar estão desativados nesta sessão."},
	"js.leave":            {"Terminal. Press Ctrl+F6 to leave it with the keyboard.", "Terminal. Mit Strg+F6 verlassen Sie es per Tastatur.", "Terminal. Pressione Ctrl+F6 para sair dele com o teclado."},
	"js.confirm_end":      {"End this session?", "Diese Sitzung beenden?", "Encerrar esta sessão?"},
	"js.name":             {"Name", "Name", "Nome"},
	"js.size":             {"Size", "Größe", "Tamanho"},
	"js.changed":          {"Changed", "Geändert", "Alterado"},
	"js.up":               {"Parent folder", "Übergeordneter Ordner", "Pasta acima"},
	"js.empty":            {"This folder is empty.", "Dieser Ordner ist leer.", "Esta pasta está vazia."},
	"js.more":             {"There is more in this folder than is shown.", "In diesem Ordner ist mehr, als gezeigt wird.", "Há mais nesta pasta do que se mostra."},
	"js.loading":          {"Loading…", "Lade…", "Carregando…"},
	"js.download":         {"Download {0}", "{0} herunterladen", "Baixar {0}"},
	"js.folder":           {"Open folder {0}", "Ordner {0} öffnen", "Abrir a pasta {0}"},
	"js.replace":          {"{0} exists. Replace it?", "{0} gibt es schon. Ersetzen?", "{0} já existe. Substituir?"},
	"js.uploading":        {"{0} of {1}", "{0} von {1}", "{0} de {1}"},
	"js.uploaded":         {"Uploaded", "Hochgeladen", "Enviado"},
	"js.cancel":           {"Cancel", "Abbrechen", "Cancelar"},
	"js.cancelled":        {"Cancelled", "Abgebrochen", "Cancelado"},
	"js.no_folders":       {"Folders cannot be dropped here; pack them into one file.", "Ordner können hier nicht abgelegt werden; packen Sie sie in eine Datei.", "Pastas não podem ser soltas aqui; compacte-as em um arquivo."},
	"js.watch_end":        {"The session has ended", "Die Sitzung ist beendet", "A sessão terminou"},
	"js.watch_end_do":     {"There is nothing more to look at. Its recording can be played.", "Es gibt nichts mehr zu sehen. Die Aufzeichnung lässt sich abspielen.", "Não há mais nada para ver. A gravação pode ser reproduzida."},
	"js.watch_denied":     {"You may not look on any more", "Sie dürfen nicht mehr zusehen", "Você não pode mais observar"},
	"js.speed":            {"Speed", "Tempo", "Velocidade"},
	"js.play_failed":      {"The recording could not be loaded.", "Die Aufzeichnung konnte nicht geladen werden.", "A gravação não pôde ser carregada."},
	"js.play_not_trusted": {"What a target printed is shown in a frame that can reach nothing.", "Was ein Ziel ausgegeben hat, steht in einem Rahmen, der nichts erreicht.", "O que um destino imprimiu aparece em um quadro que nada alcança."},
}
