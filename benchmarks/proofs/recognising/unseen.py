"""Templates put aside before the recognisers were written; nobody tunes on them.

A name in braces becomes a value of that kind, or a decoy: digits and words that are not private.
"""

PRIVATE = (
    # e-mail
    "You'll get the minutes tomorrow, unless {email} bounces again.",
    "Bcc: {email}; {email}",
    "Bitte antworten Sie nicht hier, sondern an {email}, danke!",
    "user={email}&plan=basic&ref={order}",
    "Mon adresse a changé : {email} (l'ancienne ne marche plus).",
    'The form said "{email} is already registered" and nothing else.',
    # phone
    "Can someone ring me back? {phone} after six, please",
    "Mob {phone} / office {phone}",
    "Rückruf erbeten unter {phone} bis 17 Uhr.",
    "WhatsApp me on {phone}, I never read mail.",
    "Mi móvil es el {phone}; llámame por la tarde.",
    "Emergency contact: sister, {phone}.",
    # card
    "She read me her Visa over the line, {card}, and hung up.",
    "Auth failed for PAN {card} (code 51), basket {order}.",
    "Kreditkarte {card}, gültig bis 09/28, Prüfziffer folgt.",
    "please bill {card} instead of the old one",
    "La tarjeta terminada... bueno, entera: {card}.",
    # iban
    "Überweisung an {iban}, Verwendungszweck {order}.",
    "Could payroll switch my salary to {iban} from May on?",
    "Beneficiary account {iban} - amount {price}",
    "Mon RIB : {iban}. Merci de faire vite.",
    "standing order to {iban} was returned yesterday",
    # US social security
    "My social is {us_ssn}, don't share it.",
    "W-2 shows SSN {us_ssn} for the employee hired {date}.",
    "Applicant's Social Security number ({us_ssn}) did not match.",
    "ssn: {us_ssn}",
    # UK NHS
    "Pt. seen in clinic, NHS no. {uk_nhs}, bloods pending.",
    "NHS Number: {uk_nhs}\nWard: 7B",
    "Her NHS number is {uk_nhs}; the referral went out on {date}.",
    "Discharge letter for patient with NHS number {uk_nhs}.",
    # Germany, tax identification number
    "Steuer-ID {de_tax_id}, Finanzamt Köln-Mitte.",
    "Meine steuerliche Identifikationsnummer lautet {de_tax_id}.",
    "IdNr. {de_tax_id} fehlt noch auf dem Antrag {order}.",
    "The German tax ID of the contractor is {de_tax_id}.",
    # France, NIR
    "N° de sécurité sociale : {fr_nir}",
    "L'assurée ({fr_nir}) demande un remboursement de {price}.",
    "Numéro de sécu {fr_nir}, carte Vitale perdue.",
    "NIR {fr_nir} transmitted to the payroll office.",
    # Spain, DNI and NIE
    "DNI {es_dni}, domicilio en Sevilla.",
    "El titular con NIE/DNI {es_dni} firmó el contrato {order}.",
    "identificado con documento {es_dni}",
    "Tenant's Spanish ID card reads {es_dni}.",
    # Italy, codice fiscale
    "C.F. {it_fiscal_code}, residente a Torino",
    "Il codice fiscale del paziente è {it_fiscal_code}.",
    "Invoice to Rossi, fiscal code {it_fiscal_code}, {price}",
    "cf={it_fiscal_code}",
    # Netherlands, BSN
    "BSN {nl_bsn}, huisarts onbekend.",
    "Mijn burgerservicenummer is {nl_bsn}.",
    "Burgerservicenr. {nl_bsn} bij de belastingdienst gemeld",
    "The Dutch employee (BSN: {nl_bsn}) starts on {date}.",
    # Poland, PESEL
    "PESEL {pl_pesel}, zam. w Krakowie",
    "Pacjentka o numerze PESEL {pl_pesel} nie stawiła się.",
    "nr pesel: {pl_pesel}",
    "Her Polish PESEL ({pl_pesel}) is missing in the form.",
    # Sweden, personnummer
    "Personnummer {se_personal_number}, kallad till {date}.",
    "Sökande: Karlsson, pnr {se_personal_number}",
    "mitt personnummer är {se_personal_number}",
    "Swedish personal number {se_personal_number} was rejected.",
    # Finland, henkilötunnus
    "Henkilötunnus: {fi_personal_code}",
    "Asiakkaan hetu on {fi_personal_code}, ajanvaraus {order}.",
    "potilas {fi_personal_code} siirretty osastolle",
    "Finnish personal identity code {fi_personal_code} given at the desk.",
    # Brazil, CPF
    "CPF do cliente: {br_cpf}",
    "Nota fiscal emitida para {br_cpf}, total {price}.",
    "Cadastro de pessoa física {br_cpf} irregular.",
    "The buyer in São Paulo has CPF {br_cpf}.",
    # India, Aadhaar
    "Aadhaar {in_aadhaar} linked to the account.",
    "my aadhar card no is {in_aadhaar} pls update",
    "UIDAI record {in_aadhaar} could not be verified.",
    "आधार {in_aadhaar}",
    # IP addresses
    "sshd[811]: Failed password for root from {ip} port 52144 ssh2",
    "The complaint names {ip} as the source of the upload.",
    "X-Forwarded-For: {ip}, {ip}",
    "login from {ip} at {timestamp}, build {version}",
    "Seine Adresse war {ip}, laut Protokoll.",
    # credentials in a URL
    "remote.origin.url={url_credentials}",
    "Point the worker at {url_credentials} and restart it.",
    "DATABASE_URL={url_credentials}",
    'the job log prints "{url_credentials}" in clear',
    # API keys and tokens of a known form
    "I pasted {api_key} into the chat by mistake, rotate it?",
    "boto3.client('s3', aws_access_key_id='{api_key}')",
    "curl -H 'Authorization: token {api_key}' https://api.example.com/{version}",
    "leaked in commit {hash}: {api_key}",
    "Your new credential, shown once:\n\n    {api_key}\n\nStore it safely.",
    # secrets that only a name gives away
    "smtp_password = {secret}",
    'config: {{"clientSecret": "{secret}", "retries": 3}}',
    "export APP_API_KEY={secret}",
    "The password is: {secret}",
    "auth_token: '{secret}'",
    # dates of birth
    "Patient born {birth_date}, admitted {date}.",
    "D.O.B. {birth_date}",
    "geb. {birth_date} in Graz",
    "née le {birth_date} à Lyon",
    "fecha de nacimiento: {birth_date}",
    "Her birthday is {birth_date}.",
    # several at once
    "{email} called from {phone} about {order}; card {card}.",
    "New hire: SSN {us_ssn}, DOB {birth_date}, cell {phone}, {email}.",
    "Rechnung {order}: {iban}, Steuer-ID {de_tax_id}, Rückfragen {email}",
    "{timestamp} WARN {ip} sent {card} in a GET parameter",
)

HARMLESS = (
    "Order {order} ships on {date}, total {price}.",
    "Release {version} ({hash}) was tagged at {timestamp}.",
    "Tracking code {tracking} says out for delivery.",
    "Ticket {uuid} was merged into {uuid}.",
    "The book, {isbn}, costs {price} in paperback.",
    "Meeting on {date} at 14:30 in room 4.12, bring 25 copies.",
    "Invoice {invoice} of {date} over {price} is still open.",
    "Sensor at {coordinates} read 1013.25 hPa, 21.5 degrees.",
    "GET /v2/items?page=12&per_page=100 took 0.482 s, {timestamp}",
    "Serial {serial}, firmware {version}, bought {date}",
    "Die Artikelnummer {article} ist seit {date} ausverkauft.",
    "checksum {hash} differs, expected {hash}",
    "Population rose from 1 204 331 to 1,298,004 between 1990 and 2020.",
    "{count} rows in {count} ms; epoch {epoch}",
    "Flight BA2490 leaves at 18:05 from gate 22.",
    "The token expired, so please set a new password on the page.",
    "My daughter's birthday party is next week, order {order}.",
    "Scores: 3-1, 2-2, 0-4; season 2023/24; ratio 0.9134.",
)
